"""The protocol that a field implements to plug into training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from omegaconf import DictConfig, OmegaConf

from harnest.core.errors import ConfigError
from harnest.core.trust import import_trusted
from harnest.training.limits import Limit

if TYPE_CHECKING:
    import pytorch_lightning as L

    from harnest.tracking.outbox.operations import DatasetInfo
    from harnest.training.components import RunComponents


class Task(Protocol):
    """A field: how its data and modules are made, and what its runs record.

    ``task._target_`` of a config names a class with these members, which is instantiated without
    arguments. Its module is imported while configs are checked, so it imports torch only inside
    methods. All methods raise `HarnestError` for what the config asks and does not work.
    """

    #: What values of the field's keys may be, see `harnest.training.limits.check_limits`.
    limits: Mapping[str, Limit]
    #: Modules that a trial of this field imports, for the process that trials are forked from.
    trial_imports: Sequence[str]
    #: Arguments of the trainer that the field's data needs.
    trainer_arguments: Mapping[str, Any]

    def check_precision(self, cfg: DictConfig) -> None:
        """Raise `ConfigError` where this CPU cannot compute the module in ``trainer.precision``."""

    def make_data(self, cfg: DictConfig) -> "L.LightningDataModule":
        """Make the data module."""

    def make_module(
        self, cfg: DictConfig, data: "L.LightningDataModule", trainer: "L.Trainer"
    ) -> "L.LightningModule":
        """Make the untrained module for ``data``; random numbers are seeded already."""

    def fit_data(self, components: "RunComponents") -> "L.LightningDataModule | None":
        """The data module to fit with; None where the module has its own data loaders."""

    def metrics(self, components: "RunComponents") -> Mapping[str, float]:
        """The last value of each metric so far, also of epochs before a resume."""

    def folds(self, cfg: DictConfig) -> Sequence[tuple[str, tuple[str, ...]]]:
        """The folds of ``cfg.folds``: names, and the overrides of each."""

    def tags(self, components: "RunComponents") -> Mapping[str, str]:
        """Tags of the run's record: which data it was trained on."""

    def dataset(self, components: "RunComponents") -> "DatasetInfo":
        """The data set, for the run's record."""

    def save_artifacts(self, components: "RunComponents", directory: Path) -> None:
        """Record figures and the model of a run that has ended."""

    def evaluate(
        self, cfg: DictConfig, checkpoint: Path, figures: Path | None = None
    ) -> dict[str, float]:
        """Metrics ``test/...`` of a checkpoint; the folder ``figures`` gets their pictures."""

    def chance_scores(self, cfg: DictConfig) -> Mapping[str, float]:
        """Metrics ``test/...`` that guessing reaches, where that is known."""


def task_of(cfg: DictConfig) -> Task:
    """Make the task that ``cfg.task._target_`` names.

    Raises `ConfigError` where it names none, or nothing that is trusted.
    """
    target = OmegaConf.select(cfg, "task._target_")
    if target is None:
        raise ConfigError(
            "the config has no task._target_: it was recorded by a version of harnest that this "
            "one cannot read; train it again"
        )
    task: Task = import_trusted(str(target))()
    return task
