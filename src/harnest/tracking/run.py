"""One MLflow run: what goes into it, and how it ends."""

import os
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harnest.failure import INTERRUPTED, Failure, failure_of
from harnest.tracking.store import experiment_id, open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

#: MLflow's own variable for "log into this run": a study sets it for each of its trials.
RUN_ID = "MLFLOW_RUN_ID"

#: The metric that runs and trials are ranked by: their score.
OBJECTIVE = "objective"
#: How many times a run or trial was judged: its epochs.
STEPS = "steps"

_LONGEST_PARAM = 6000  # characters that MLflow takes
_MOST_PARAMS = 100  # in one request


class Run:
    """An MLflow run that this process writes to.

    ``owned`` is false for a trial's run: the study started it, and the study ends it.
    """

    def __init__(self, client: "MlflowClient", run_id: str, owned: bool) -> None:
        self.client = client
        self.run_id = run_id
        self.owned = owned
        self._pending: list[Any] = []

    @staticmethod
    def start(address: str, experiment: str, name: str, tags: Mapping[str, str]) -> "Run":
        """Go on with the run that ``MLFLOW_RUN_ID`` names, or start one called ``name``."""
        client = open_store(address)
        given = os.environ.get(RUN_ID)
        if given is not None:
            run = Run(client, given, owned=False)
            run.tag(tags)
            return run
        made = client.create_run(experiment_id(client, experiment), tags=dict(tags), run_name=name)
        return Run(client, made.info.run_id, owned=True)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        from mlflow.entities import RunTag

        self.client.log_batch(self.run_id, tags=[RunTag(k, v) for k, v in tags.items()])

    def params(self, params: Mapping[str, Any]) -> None:
        """Record parameters in full; one too long for MLflow says where it stands."""
        from mlflow.entities import Param

        texts = {param_key(key): str(value) for key, value in params.items()}
        all_params = [
            Param(key, text if len(text) <= _LONGEST_PARAM else "too long: see config.yaml")
            for key, text in texts.items()
        ]
        for start in range(0, len(all_params), _MOST_PARAMS):
            self.client.log_batch(self.run_id, params=all_params[start : start + _MOST_PARAMS])

    def missing_params(self, params: Mapping[str, Any]) -> None:
        """Record those of ``params`` that the run does not have yet."""
        known = self.client.get_run(self.run_id).data.params
        self.params({key: v for key, v in params.items() if param_key(key) not in known})

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record metrics, and return once they are in the store."""
        self.client.log_batch(self.run_id, metrics=_metrics(values, step))

    def stream(self, values: Mapping[str, float], step: int) -> None:
        """Hand metrics over to be written while training goes on; `flush` waits for them."""
        batch = _metrics(values, step)
        self._pending.append(self.client.log_batch(self.run_id, metrics=batch, synchronous=False))

    def flush(self) -> None:
        """Wait until all metrics are in the store."""
        pending, self._pending = self._pending, []
        for operation in pending:
            operation.wait()

    def files(self, files: Iterable[Path], folder: str | None = None) -> None:
        """Copy those files that exist into the run's artifacts."""
        for file in files:
            if file.is_file():
                self.client.log_artifact(self.run_id, str(file), folder)

    def text(self, text: str, name: str) -> None:
        """Keep ``text`` as the artifact ``name``."""
        self.client.log_text(self.run_id, text, name)

    def score(self, value: float, steps: int) -> None:
        """Record what the run is ranked by, and its length; a study does that for its trials."""
        if self.owned:
            self.metrics({OBJECTIVE: value, STEPS: steps}, step=0)

    def end(self, failure: Failure | None = None) -> None:
        """Write what is left, say why it failed, and set the state, if the run is our own."""
        try:
            self.flush()
        except BaseException as error:
            failure = failure or failure_of(error)
            raise
        finally:
            if self.owned and failure is None:
                self.client.set_terminated(self.run_id, "FINISHED")
            elif self.owned and failure is not None:
                self.fail(failure)

    def fail(self, failure: Failure) -> None:
        """End as KILLED when interrupted, as FAILED otherwise, with the reason as a tag."""
        self.tag({"reason": failure.reason, "message": failure.message})
        try:
            if failure.details:
                self.text(failure.details, "traceback.txt")
        finally:  # also where the disk is full
            state = "KILLED" if failure.reason == INTERRUPTED else "FAILED"
            self.client.set_terminated(self.run_id, state)


def param_key(key: str) -> str:
    """``key`` as MLflow takes it: ``model@encoder`` becomes ``model_encoder``."""
    return re.sub(r"[^\w./: -]", "_", key)


def _metrics(values: Mapping[str, float], step: int) -> list["Metric"]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [Metric(key, float(value), now, step) for key, value in values.items()]
