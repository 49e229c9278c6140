"""Loads what a recorded run has saved: its config, its checkpoint, its record."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from harnest.core.errors import CheckpointError, TrackingError
from harnest.core.paths import BEST_CHECKPOINT
from harnest.tracking.run_queries import directory_conditions
from harnest.tracking.run_writer import RunWriter
from harnest.tracking.store import open_existing

if TYPE_CHECKING:
    from mlflow import MlflowClient

_CONFIG = "config.yaml"

_WITHOUT = (
    "it ended before its first epoch, or its config saves no such file; give another one with "
    "--checkpoint"
)


@dataclass(frozen=True)
class RecordedRun:
    """A recorded run; ``run`` is None if it was not recorded in MLflow."""

    cfg: DictConfig
    checkpoint: Path
    run: RunWriter | None

    def metrics(self, part: str) -> dict[str, float]:
        """Return the recorded metrics whose names begin with ``part/``, for example ``test/``."""
        if self.run is None:
            return {}
        found = self.run.client.get_run(self.run.run_id).data.metrics
        return {name: value for name, value in found.items() if name.startswith(f"{part}/")}

    def is_running(self) -> bool:
        """Return whether MLflow shows the run as RUNNING."""
        if self.run is None:
            return False
        return bool(self.run.client.get_run(self.run.run_id).info.status == "RUNNING")

    def record(
        self, metrics: dict[str, float], files: Sequence[Path] = (), folder: str | None = None
    ) -> None:
        """Write metrics and artifacts to the run in MLflow.

        Args:
            metrics: Metrics by name; they are written at step 0.
            files: Files to log as artifacts.
            folder: Artifact folder of the files; None for the top level.

        Raises:
            TrackingError: The store does not accept the writes.
        """
        if self.run is None:
            return
        from mlflow.exceptions import MlflowException

        try:
            self.run.files(files, folder)
            self.run.metrics(metrics, step=0)
        except (MlflowException, OSError) as error:
            first = str(error).strip().splitlines()[0]
            raise TrackingError(
                f"the record of run {self.run.run_id} did not take {', '.join(metrics)} ({first}); "
                "run the same command again once the store accepts writes"
            ) from error


def load_run(name: str, address: str, checkpoint: Path | None = None) -> RecordedRun:
    """Load a recorded run.

    Args:
        name: The run's directory, its MLflow run ID, or a prefix of the ID.
        address: Address of the MLflow store.
        checkpoint: The checkpoint to use; None for the run's best one.

    Raises:
        TrackingError: There is no such run.
        CheckpointError: ``checkpoint`` is None and the run has no best checkpoint.
    """
    directory = Path(name)
    if directory.is_dir():
        return _from_directory(directory.absolute(), address, checkpoint)
    from mlflow.exceptions import MlflowException

    try:
        client = open_existing(address)
    except TrackingError as error:
        raise TrackingError(
            f"{name} is neither the directory of a run nor recorded: {error}"
        ) from error
    from harnest.tracking.find_runs import find_by_id_prefix

    begins = find_by_id_prefix(client, name)
    name = name if begins is None else begins.info.run_id
    try:
        client.get_run(name)
        config = OmegaConf.load(client.download_artifacts(name, _CONFIG))
    except (MlflowException, OSError) as error:
        raise TrackingError(
            f"{name} is neither the directory of a run nor the id of one in the MLflow store"
        ) from error
    try:
        checkpoint = checkpoint or Path(client.download_artifacts(name, BEST_CHECKPOINT))
    except (MlflowException, OSError) as error:
        raise CheckpointError(f"run {name} has no {BEST_CHECKPOINT}: {_WITHOUT}") from error
    assert isinstance(config, DictConfig)
    return RecordedRun(config, checkpoint, RunWriter(client, name, owned=False))


def _from_directory(directory: Path, address: str, checkpoint: Path | None) -> RecordedRun:
    file = directory / ".hydra" / _CONFIG
    if not file.is_file():
        raise TrackingError(f"{directory} is not a run directory: it has no .hydra/{_CONFIG}")
    config = OmegaConf.load(file)
    assert isinstance(config, DictConfig)
    if checkpoint is None:
        checkpoint = directory / BEST_CHECKPOINT
        if not checkpoint.is_file():
            raise CheckpointError(f"{directory} has no {BEST_CHECKPOINT}: {_WITHOUT}")
    if "mlflow" not in (config.get("logger") or {}):
        return RecordedRun(config, checkpoint, None)
    client = open_existing(address)
    return RecordedRun(config, checkpoint, _run_of(client, directory))


def _run_of(client: "MlflowClient", directory: Path) -> RunWriter | None:
    experiments = [e.experiment_id for e in client.search_experiments()]
    for condition in directory_conditions(directory):
        found = client.search_runs(experiments, condition, max_results=1)
        if found:
            return RunWriter(client, found[0].info.run_id, owned=False)
    return None
