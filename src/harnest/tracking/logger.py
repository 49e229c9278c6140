"""A Lightning logger that writes to one MLflow run and leaves its state to others."""

import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers import Logger

from harnest.secrets import redact
from harnest.tracking.run import RECORDED_IN, Run
from harnest.tracking.store import open_store


class MLflowLogger(Logger):
    """Metrics by epoch, parameters in full, none lost while the store is away.

    Lightning's own MLflow logger cuts parameters at 250 characters, writes each metric while
    training waits, and sets the run's state whenever a trainer is torn down, which would
    overwrite what the study says of a pruned trial. Here the state belongs to whoever started
    the run: a standalone run's `harnest.tracking.recorded`, or the study. ``patience`` is how
    long the run's end may wait for the store, in seconds.
    """

    def __init__(
        self,
        tracking_uri: str,
        experiment: str,
        run_name: str | None = None,
        patience: float = 30.0,
    ) -> None:
        super().__init__()
        self.address = tracking_uri
        self.experiment_name = experiment
        self.run_name = run_name
        self.patience = patience
        self.run: Run | None = None
        #: Each metric's steps and values so far.
        self.history: dict[str, list[tuple[int, float]]] = {}
        if RECORDED_IN not in os.environ:
            # A store that cannot be used is told before anything is made. In a study it has
            # been asked, and a trial does without it.
            open_store(tracking_uri)

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
        """Start the run, or go on with the one that a study has started."""
        name = self.run_name or name
        self.run = Run.start(
            self.address, self.experiment_name, name, tags, directory, self.patience
        )

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Record a nested dictionary as dotted parameters."""
        if self.run is not None:
            nested = vars(params) if isinstance(params, Namespace) else params
            self.run.params(_flat(nested))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record metrics at their epoch, where they name one, else at the training step."""
        if self.run is not None:
            values = dict(metrics)
            at = int(values.pop("epoch", step or 0))
            for key, value in values.items():
                self.history.setdefault(key, []).append((at, value))
            self.run.metrics(values, at)


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = redact(str(value))
    return flat
