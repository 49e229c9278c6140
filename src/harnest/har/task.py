"""Human activity recognition as a training task: classification of windows."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig

from harnest.core.errors import ConfigError
from harnest.har.limits import LIMITS

if TYPE_CHECKING:
    import pytorch_lightning as L

    from harnest.har.classifier import Classifier
    from harnest.har.data.data_module import WindowModule
    from harnest.tracking.outbox.operations import DatasetInfo
    from harnest.training.components import RunComponents


#: Packages that the extra ``har`` installs.
_NEEDS = ("torchmetrics", "pyarrow", "pooch", "platformdirs", "scipy")


class WindowClassification:
    """Classification of windows by activity, with splits by subject.

    Implements `harnest.training.task.Task`.
    """

    limits = LIMITS
    trial_imports: Sequence[str] = ("harnest.har.trial_imports",)
    #: The data module's own sampler distributes batches among devices.
    trainer_arguments: Mapping[str, Any] = {"use_distributed_sampler": False}

    def __init__(self) -> None:
        missing = [name for name in _NEEDS if find_spec(name) is None]
        if missing:
            raise ConfigError(
                f"{type(self).__name__} needs {', '.join(missing)}: pip install 'harnest[har]'"
            )

    def check_precision(self, cfg: DictConfig) -> None:
        """Test the network on windows of an arbitrary shape, without data."""
        from harnest.har.components import check_precision

        check_precision(cfg)

    def make_data(self, cfg: DictConfig) -> "L.LightningDataModule":
        """Make the windows; raises `ConfigError` if the objective needs validation subjects."""
        from harnest.har.components import make_data

        data = make_data(cfg)
        if not data.split.validation_subjects and cfg.objective.metric.startswith("val/"):
            raise ConfigError(
                f"data.validation=null: {cfg.objective.metric} needs validation subjects; set "
                "objective.metric=train/loss as well"
            )
        return data

    def make_module(
        self, cfg: DictConfig, data: "L.LightningDataModule", trainer: "L.Trainer"
    ) -> "L.LightningModule":
        """Make the classifier: trained by Lightning, or a member of a pack."""
        from harnest.har.components import make_module

        return make_module(cfg, cast("WindowModule", data), trainer)

    def fit_data(self, components: "RunComponents") -> "L.LightningDataModule | None":
        """Return the windows; None for a member of a pack, which has its own loaders."""
        from harnest.har.packed.packed_classifier import PackedClassifier

        return None if isinstance(components.module, PackedClassifier) else components.data

    def metrics(self, components: "RunComponents") -> Mapping[str, float]:
        """Return the classifier's metrics."""
        return cast("Classifier", components.module).metrics

    def folds(self, cfg: DictConfig) -> Sequence[tuple[str, tuple[str, ...]]]:
        """Return the folds: each subject is in one validation set; test subjects are in no fold."""
        from harnest.har.components import folds_of

        return folds_of(cfg)

    def tags(self, components: "RunComponents") -> Mapping[str, str]:
        """Return the digest of the data and the subjects of each part."""
        from harnest.har.schema import tags

        return tags(cast("WindowModule", components.data))

    def dataset(self, components: "RunComponents") -> "DatasetInfo":
        """Describe the windows and their split."""
        from harnest.har.schema import dataset_info

        return dataset_info(cast("WindowModule", components.data))

    def save_artifacts(self, components: "RunComponents", directory: Path) -> None:
        """Log figures of the validation windows, and the classifier."""
        from harnest.har.artifacts import save_artifacts

        save_artifacts(components, directory)

    def evaluate(
        self, cfg: DictConfig, checkpoint: Path, figures: Path | None = None
    ) -> dict[str, float]:
        """Return loss, accuracy and macro-F1 on the test subjects."""
        from harnest.har.evaluation import evaluate

        return evaluate(cfg, checkpoint, figures)

    def chance_scores(self, cfg: DictConfig) -> Mapping[str, float]:
        """Return loss, accuracy and macro-F1 of guessing."""
        from harnest.har.evaluation import chance_scores

        return chance_scores(cfg)
