"""Writes one MLflow run: its data and its end state."""

import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from harnest.core.command_line import command_for
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

#: MLflow's environment variable for the run to log to. A study sets it for each trial.
RUN_ID = "MLFLOW_RUN_ID"
#: Environment variable: the directory of the run log that the study has created for a trial.
RECORDED_IN = "HARNEST_RECORDED_IN"

#: Metric: the score, by which runs and trials are ranked.
OBJECTIVE = "objective"
#: Metric: the score's deviation, if the score is the mean of several replicates.
DEVIATION = "objective_deviation"
#: Metric: how many times a run or trial was evaluated, which is its number of epochs.
STEPS = "steps"
#: Prefix of the metrics of the epoch whose weights are kept. Without it MLflow would show only the
#: last epoch's values.
BEST = "best/"
#: Tag: the run's description in the UI, as Markdown.
NOTE = "mlflow.note.content"
#: Tag: the study's constraints that a trial violates.
BREAKS = "breaks"


class RunWriter:
    """An MLflow run that this process writes to.

    Args:
        client: The store; required without ``queue``.
        run_id: MLflow's ID of the run; None to take it from the run log.
        owned: Whether this process ends the run. False for a trial's run, which the study starts
            and ends.
        queue: If given, methods return once the write is in the run log, and MLflow receives it
            later. Otherwise methods write to MLflow directly.
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
        """Start a run, or open a trial's run that its study has started.

        A trial's run is opened whether or not the store answers.

        Args:
            address: Address of the MLflow store.
            experiment: Name of the experiment; it is created if needed.
            name: Name of the run.
            tags: Tags of the run.
            directory: The run's directory, which holds its run log.
            flush_timeout: How long `end` may wait for the store, in seconds.

        Raises:
            TrackingError: The store cannot be used, or ``directory`` holds the run log of another
                run that is active or not fully sent.
        """
        begun = os.environ.get(RECORDED_IN)
        if begun is not None:
            # The study's process uploads the run log: uploading here would slow down training.
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
        except BaseException:  # nothing else knows of the run, and it would stay RUNNING
            client.set_terminated(made, "FAILED")
            raise
        return RunWriter(client, made, True, WriteQueue(run_log, uploader))

    @property
    def client(self) -> "MlflowClient":
        """The store; must not be used in a trial's process, which does not connect to it."""
        assert self._client is not None
        return self._client

    @property
    def run_id(self) -> str:
        """MLflow's ID of the run; empty until MLflow has created a trial's run."""
        if self._run_id is None and self.queue is not None:
            self._run_id = self.queue.run_log.run_id
        return self._run_id or ""

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._write(operations.values(tags=tags))

    def params(self, params: Mapping[str, Any]) -> None:
        """Record parameters; one too long for MLflow is replaced by a reference to config.yaml."""
        self._write(operations.values(params=params))

    def missing_params(self, params: Mapping[str, Any]) -> None:
        """Record those of ``params`` that the run does not have yet."""
        self._write(operations.values(params=params) | {"kind": "missing_params"})

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record metrics of one step."""
        self._write(operations.values(metrics=values, step=step))

    def data_set(self, facts: operations.DatasetInfo) -> None:
        """Record the training data set."""
        self._write(operations.data_set(facts))

    def model(self, folder: Path, metrics: Mapping[str, float], step: int) -> None:
        """Log the model saved in ``folder``.

        Args:
            folder: Folder of the model, below the run's directory.
            metrics: Metrics that the model achieved.
            step: Step of the metrics.
        """
        assert self.queue is not None
        inside = folder.relative_to(self.queue.run_log.directory)
        self._write(operations.model(str(inside), metrics, step))

    def files(self, files: Iterable[Path], folder: str | None = None) -> None:
        """Log those of ``files`` that exist as artifacts in ``folder``.

        With a run log, files from outside the run's directory are copied into it.
        """
        there = [file.absolute() for file in files if file.is_file()]
        if self.queue is not None:
            there = [_copy_inside(self.queue.run_log, file, folder) for file in there]
        if there:
            self._write(operations.files(there, folder))

    def text(self, text: str, name: str) -> None:
        """Log ``text`` as the artifact ``name``."""
        if self.queue is None:
            self.client.log_text(self.run_id, text, name)
        else:
            with _atomic_write(_artifact(self.queue.run_log, name)) as file:
                file.write_text(text)
            self._made(self.queue.run_log, name)

    def figure(self, figure: "Figure", name: str) -> None:
        """Log a matplotlib figure as the artifact ``name``, an image file."""
        if self.queue is None:
            self.client.log_figure(self.run_id, figure, name)
        else:
            with _atomic_write(_artifact(self.queue.run_log, name)) as file:
                figure.savefig(file)
            self._made(self.queue.run_log, name)

    def _made(self, run_log: RunLog, name: str) -> None:
        folder = str(Path(name).parent)
        self.files([_artifact(run_log, name)], None if folder == "." else folder)

    def score(self, value: float, steps: int) -> None:
        """Record the run's score and number of steps; does nothing if the run is not owned."""
        if self.owned:
            self.metrics({OBJECTIVE: value, STEPS: steps}, step=0)

    def best_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Record which epoch's weights are kept, with its metrics, and describe it in the UI."""
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
        """Write the end state if this process owns the run, then flush.

        Writes that the store does not accept in time are left to `harnest-sync`, or to the study of
        a trial.
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
        """End the run as KILLED if it was interrupted, else as FAILED, with the reason as a tag."""
        try:
            self.tag({"reason": failure.reason, "message": failure.message})
            if failure.details:
                self.text(failure.details, "traceback.txt")
        finally:  # also where the disk is full
            self.terminate("KILLED" if failure.reason == INTERRUPTED else "FAILED")

    def terminate(self, state: str) -> None:
        """End the run in ``state``, one of MLflow's end states."""
        self._write(operations.end(state))

    def has_ended(self) -> bool:
        """Return whether the run log contains the run's end."""
        assert self.queue is not None
        return self.queue.run_log.has_ended()

    def _write(self, write: operations.Write) -> None:
        if self.queue is not None:
            self.queue.add(write)
        else:
            operations.apply(self.client, self.run_id, [write], Path())

    def _flush(self, uploader: Uploader, directory: Path) -> None:
        is_sent = False
        try:
            is_sent = uploader.finish(unless_away=not self.owned)
        finally:  # an interrupt may end the wait
            if self.owned and not is_sent:
                log.warning(unsent_message(uploader, directory))


def _artifact(run_log: RunLog, name: str) -> Path:
    file = run_log.artifacts / name
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


@contextmanager
def _atomic_write(file: Path) -> Iterator[Path]:
    """Yield a temporary path that is renamed to ``file`` at the end: uploads never see half a file.

    The path is unique, because the sweepers of a study write to the same record. If writing
    fails, the partial file is removed, which frees its space on a full disk.
    """
    new = file.with_name(f".{uuid4().hex}.{file.name}")
    try:
        yield new
        new.replace(file)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def unsent_message(uploader: Uploader, directory: Path) -> str:
    """Return a message about unsent writes: the reason, and how to send them."""
    why = uploader.trouble or "it is slow"
    return (
        f"the MLflow store {redact(uploader.address)} did not take the whole record ({why}); send "
        f"the rest later with {command_for('harnest-sync')} {directory}"
    )


def _copy_inside(run_log: RunLog, file: Path, folder: str | None) -> Path:
    """Return the file's path in the run's directory; a file from elsewhere is copied there."""
    if not file.is_relative_to(run_log.directory):
        kept = run_log.artifacts / (folder or "") / file.name
        kept.parent.mkdir(parents=True, exist_ok=True)
        with _atomic_write(kept) as new:
            shutil.copyfile(file, new)
        file = kept
    return file.relative_to(run_log.directory)
