"""A Lightning logger that writes to an MLflow run."""

import os
import sys
from argparse import Namespace
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from lightning_fabric.loggers.logger import rank_zero_experiment
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import Logger
from torch import Tensor
from torch.nn import Module

from harnest.core.failure import Failure, failure_of
from harnest.core.secrets import redact
from harnest.tracking.outbox.runlog import RunLog
from harnest.tracking.outbox.uploader import Uploader, WriteQueue
from harnest.tracking.provenance import environment_tags, source_tags
from harnest.tracking.run_writer import RECORDED_IN, RunWriter
from harnest.tracking.store import open_store

_STORE = "sqlite:///mlflow.db"


class MLflowLogger(Logger):
    """Metrics by epoch, parameters in full, none lost while the store is away.

    Lightning's own MLflow logger cuts parameters at 250 characters, writes each metric while
    training waits, and sets the run's state whenever a trainer is torn down, which would
    overwrite what the study says of a pruned trial. Here the state belongs to whoever started
    the run: a standalone run's `harnest.training.recorder`, or the study.

    Handed to a `Trainer` that neither of them has made, it starts a run of its own when training
    begins, and ends it with the trainer: FINISHED, FAILED, or KILLED when interrupted. What the
    same logger records later, such as `trainer.test` after `trainer.fit`, goes to the same run. In
    a trial of a study it is the trial's run.

    Args:
        tracking_uri: The store; None: ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in this folder.
        experiment: MLflow's name for a group of runs.
        run_name: The run's name; None: that of its directory.
        flush_timeout: How long the run's end may wait for the store, in seconds.
        directory: Where a run of its own keeps what it has not sent; None: Hydra's output
            directory, else ``outputs/DATE/TIME``.

    Example:
        >>> trainer = Trainer(logger=MLflowLogger(experiment="mine"))  # doctest: +SKIP
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        experiment: str = "harnest",
        run_name: str | None = None,
        flush_timeout: float = 30.0,
        directory: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.address = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or _STORE
        self.experiment_name = experiment
        self.run_name = run_name
        self.flush_timeout = flush_timeout
        self.directory = None if directory is None else Path(directory)
        self.run: RunWriter | None = None
        #: The epochs and values so far of each metric that is logged by epoch.
        self.history: dict[str, list[tuple[int, float]]] = {}
        self._trainer: Trainer | None = None
        self._ends_run = False  # whether the run is this logger's to end
        self._has_ended = False
        if RECORDED_IN not in os.environ:
            # Fail before anything is created. In a study, the study has checked the store, and a
            # trial does not need it.
            open_store(self.address)

    @property
    def name(self) -> str:
        """The experiment."""
        return self.experiment_name

    @property
    def version(self) -> str | None:
        """The run's identity, once MLflow knows it."""
        return None if self.run is None else self.run.run_id or None

    @rank_zero_only
    def start(self, name: str, tags: Mapping[str, str], directory: Path) -> None:
        """Start the run, or attach to the one that the study has started."""
        name = self.run_name or name
        self._ends_run = False
        self.run = RunWriter.start(
            self.address, self.experiment_name, name, tags, directory, self.flush_timeout
        )

    @property
    @rank_zero_experiment
    def experiment(self) -> RunWriter:
        """The run writer; starts a run on first access, as Lightning does before training."""
        if self.run is None:
            directory = (self.directory or _own_directory()).absolute()
            directory.mkdir(parents=True, exist_ok=True)
            tags = {"directory": str(directory), **environment_tags()}
            self.start(
                directory.name,
                tags | ({} if RECORDED_IN in os.environ else source_tags()),
                directory,
            )
            self._ends_run = True
        elif self._ends_run and self._has_ended:
            self._resume()
        assert self.run is not None
        return self.run

    def _resume(self) -> None:
        """Go on with the run that a trainer has ended before."""
        assert self.run is not None
        assert self.run.queue is not None
        directory, run_id = self.run.queue.run_log.directory, self.run.run_id
        if self.run.owned:
            client = open_store(self.address)
            client.update_run(run_id, status="RUNNING")
            run_log = RunLog.begin(directory, self.address, run_id)
            queue = WriteQueue(run_log, Uploader(self.address, self.flush_timeout))
            self.run = RunWriter(client, run_id, True, queue)
        self._has_ended = False

    @rank_zero_only
    def log_graph(self, model: Module, input_array: Tensor | None = None) -> None:
        """Take note of the trainer: Lightning hands over the module as training begins."""
        self._trainer = getattr(model, "_trainer", None)

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Record a nested dictionary as dotted parameters."""
        nested = vars(params) if isinstance(params, Namespace) else params
        self.experiment.params(_flat(nested))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record metrics of an epoch at its number, and those of a step at the training step."""
        values = dict(metrics)
        epoch = values.pop("epoch", None)
        if epoch is None or self._is_in_epoch():
            at = step or 0
        else:
            at = int(epoch)
            for key, value in values.items():
                self.history.setdefault(key, []).append((at, value))
        self.experiment.metrics(values, at)

    def _is_in_epoch(self) -> bool:
        """Whether Lightning logs the metrics of a step: both kinds come with the epoch."""
        connector = getattr(self._trainer, "_logger_connector", None)
        return getattr(connector, "_first_loop_iter", None) is not None

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End a run of the logger's own; ``status`` is Lightning's: success, failed, finished."""
        if self.run is None or not self._ends_run or self._has_ended:
            return
        self._has_ended = True
        error = sys.exc_info()[1]  # the exception that Lightning handles if the status is failed
        if status != "failed":
            self.run.end()
        elif error is None:
            self.run.end(Failure("error", "training failed"))
        else:
            self.run.end(failure_of(error))


def _own_directory() -> Path:
    """The directory of a run that this logger starts: the same as that of ``harnest-train``."""
    if HydraConfig.initialized():
        return Path(HydraConfig.get().runtime.output_dir)
    return Path("outputs") / f"{datetime.now():%Y-%m-%d/%H-%M-%S-%f}"


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = redact(str(value))
    return flat
