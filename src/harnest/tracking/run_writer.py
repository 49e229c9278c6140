"""One MLflow run: what goes into it, and how it ends."""

import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from harnest.core.command_line import program
from harnest.core.failure import INTERRUPTED, Failure
from harnest.core.secrets import redact
from harnest.tracking.outbox import operations
from harnest.tracking.outbox.runlog import RunLog
from harnest.tracking.outbox.uploader import Uploader, WriteQueue
from harnest.tracking.store import experiment_id, open_store

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

#: MLflow's own variable for "log into this run": a study sets it for each of its trials.
RUN_ID = "MLFLOW_RUN_ID"
#: The directory whose journal a trial goes on with: its study has begun it.
RECORDED_IN = "HARNEST_RECORDED_IN"

#: The metric that runs and trials are ranked by: their score.
OBJECTIVE = "objective"
#: Its deviation, where it is the mean of several replicates'.
DEVIATION = "objective_deviation"
#: How many times a run or trial was judged: its epochs.
STEPS = "steps"
#: What the metrics of the epoch whose weights are kept begin with. MLflow shows the last value of a
#: metric, which is the last epoch's.
BEST = "best/"
#: What the UI shows on top of a run, as Markdown.
NOTE = "mlflow.note.content"
#: A tag: which of its study's constraints a trial does not keep to.
BREAKS = "breaks"


class RunWriter:
    """An MLflow run that this process writes to.

    With an ``outbox`` a write is in a file of this machine once a method returns, and reaches
    MLflow later; without one it is in MLflow then, and ``client`` is needed. ``owned`` is false
    for a trial's run: the study started it, and the study ends it.
    """

    def __init__(
        self,
        client: "MlflowClient | None",
        run_id: str | None,
        owned: bool,
        queue: WriteQueue | None = None,
    ) -> None:
        self._client = client
        self.owned = owned
        self.queue = queue
        self._run_id = run_id

    @staticmethod
    def start(
        address: str,
        experiment: str,
        name: str,
        tags: Mapping[str, str],
        directory: Path,
        flush_timeout: float,
    ) -> "RunWriter":
        """Start a run called ``name`` that keeps its journal in ``directory``.

        A trial goes on with the run that its study has started, whether the store answers or
        not. ``flush_timeout`` is how long its end may wait for the store, in seconds.
        """
        begun = os.environ.get(RECORDED_IN)
        if begun is not None:
            # The study sends what is written here: to do so takes time that training needs.
            run = RunWriter(None, None, False, WriteQueue(RunLog(Path(begun)), None))
            run.tag(tags)
            return run
        uploader = Uploader(address, flush_timeout)
        client = open_store(address)
        given = os.environ.get(RUN_ID)
        if given is not None:
            run_log = RunLog.begin(directory, address, given)
            run = RunWriter(client, given, False, WriteQueue(run_log, uploader))
            run.tag(tags)
            return run
        experiment = experiment_id(client, experiment)
        made = client.create_run(experiment, tags=dict(tags), run_name=name).info.run_id
        try:
            run_log = RunLog.begin(directory, address, made, owned=True)
        except BaseException:  # nobody else would know of the run
            client.set_terminated(made, "FAILED")
            raise
        return RunWriter(client, made, True, WriteQueue(run_log, uploader))

    @property
    def client(self) -> "MlflowClient":
        """The store that it is in; a trial's process has not asked for it."""
        assert self._client is not None
        return self._client

    @property
    def run_id(self) -> str:
        """MLflow's identity of the run; empty while a trial's run has not reached MLflow."""
        if self._run_id is None and self.queue is not None:
            self._run_id = self.queue.run_log.run_id
        return self._run_id or ""

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._write(operations.values(tags=tags))

    def params(self, params: Mapping[str, Any]) -> None:
        """Record parameters in full; one too long for MLflow says where it stands."""
        self._write(operations.values(params=params))

    def missing_params(self, params: Mapping[str, Any]) -> None:
        """Record those of ``params`` that the run does not have yet."""
        self._write(operations.values(params=params) | {"kind": "missing_params"})

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record metrics of one step."""
        self._write(operations.values(metrics=values, step=step))

    def data_set(self, facts: operations.DatasetInfo) -> None:
        """Record what it is trained on."""
        self._write(operations.data_set(facts))

    def model(self, folder: Path, metrics: Mapping[str, float], step: int) -> None:
        """Log the model that was saved in ``folder``, with the metrics that it reached."""
        assert self.queue is not None
        inside = folder.relative_to(self.queue.run_log.directory)
        self._write(operations.model(str(inside), metrics, step))

    def files(self, files: Iterable[Path], folder: str | None = None) -> None:
        """Keep those files that exist as artifacts; a journal copies them from elsewhere."""
        there = [file.absolute() for file in files if file.is_file()]
        if self.queue is not None:
            there = [_inside(self.queue.run_log, file, folder) for file in there]
        if there:
            self._write(operations.files(there, folder))

    def text(self, text: str, name: str) -> None:
        """Keep ``text`` as the artifact ``name``."""
        if self.queue is None:
            self.client.log_text(self.run_id, text, name)
        else:
            with _whole(_artifact(self.queue.run_log, name)) as file:
                file.write_text(text)
            self._made(self.queue.run_log, name)

    def figure(self, figure: "Figure", name: str) -> None:
        """Keep a matplotlib figure as the artifact ``name``, a picture."""
        if self.queue is None:
            self.client.log_figure(self.run_id, figure, name)
        else:
            with _whole(_artifact(self.queue.run_log, name)) as file:
                figure.savefig(file)
            self._made(self.queue.run_log, name)

    def _made(self, run_log: RunLog, name: str) -> None:
        folder = str(Path(name).parent)
        self.files([_artifact(run_log, name)], None if folder == "." else folder)

    def score(self, value: float, steps: int) -> None:
        """Record what the run is ranked by, and its length; a study does that for its trials."""
        if self.owned:
            self.metrics({OBJECTIVE: value, STEPS: steps}, step=0)

    def kept(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Record which epoch's weights are kept, and what was measured then, also on top of all."""
        values = {f"{BEST}epoch": float(epoch), **{BEST + key: x for key, x in metrics.items()}}
        self.metrics(values, step=0)
        measured = ", ".join(f"{key} = {value:.4f}" for key, value in sorted(metrics.items()))
        self.tag(
            {
                NOTE: f"Kept weights: epoch {epoch}, {measured}.\n\nThese are the metrics "
                f"`{BEST}...`; of each other metric MLflow shows the last epoch's value."
            }
        )

    def end(self, failure: Failure | None = None) -> None:
        """Say how it ended, if the run is our own, and let the rest be sent.

        What the store does not take in time is left to `harnest-sync`, or to a trial's study.
        """
        try:
            if self.owned and failure is None:
                self.terminate("FINISHED")
            elif self.owned and failure is not None:
                self.fail(failure)
        finally:
            if self.queue is not None:
                self.queue.run_log.release()
                if self.queue.uploader is not None:
                    self._flush(self.queue.uploader, self.queue.run_log.directory)

    def fail(self, failure: Failure) -> None:
        """End as KILLED when interrupted, as FAILED otherwise, with the reason as a tag."""
        try:
            self.tag({"reason": failure.reason, "message": failure.message})
            if failure.details:
                self.text(failure.details, "traceback.txt")
        finally:  # also where the disk is full
            self.terminate("KILLED" if failure.reason == INTERRUPTED else "FAILED")

    def terminate(self, state: str) -> None:
        """Set one of MLflow's end states."""
        self._write(operations.end(state))

    def has_ended(self) -> bool:
        """Whether the journal says how the run ended."""
        assert self.queue is not None
        return self.queue.run_log.has_ended()

    def _write(self, write: operations.Write) -> None:
        if self.queue is not None:
            self.queue.add(write)
        else:
            operations.deliver(self.client, self.run_id, [write], Path())

    def _flush(self, uploader: Uploader, directory: Path) -> None:
        is_sent = False
        try:
            is_sent = uploader.finish(unless_away=not self.owned)
        finally:  # also where an interrupt ends the wait
            if self.owned and not is_sent:
                log.warning(unsent_message(uploader, directory))


def _artifact(run_log: RunLog, name: str) -> Path:
    file = run_log.artifacts / name
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


@contextmanager
def _whole(file: Path) -> Iterator[Path]:
    """Where to write ``file``, which gets its name once it is whole: it may be just being sent.

    Others may be at it as well: a study's sweepers have one record. No half is left where writing
    fails: a full disk has that room again.
    """
    new = file.with_name(f".{uuid4().hex}.{file.name}")
    try:
        yield new
        new.replace(file)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def unsent_message(uploader: Uploader, directory: Path) -> str:
    """What to do about writes that a store has not taken."""
    why = uploader.trouble or "it is slow"
    return (
        f"the MLflow store {redact(uploader.address)} did not take the whole record ({why}); send "
        f"the rest later with {program('harnest-sync')} {directory}"
    )


def _inside(run_log: RunLog, file: Path, folder: str | None) -> Path:
    """The file's path from the run's directory, into which it is copied from elsewhere."""
    if not file.is_relative_to(run_log.directory):
        kept = run_log.artifacts / (folder or "") / file.name
        kept.parent.mkdir(parents=True, exist_ok=True)
        with _whole(kept) as new:
            shutil.copyfile(file, new)
        file = kept
    return file.relative_to(run_log.directory)
