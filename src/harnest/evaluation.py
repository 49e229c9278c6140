"""A checkpoint's scores on the subjects that nothing was chosen by."""

from pathlib import Path
from typing import TYPE_CHECKING

from harnest.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from harnest.data.module import WindowModule
    from harnest.models.classifier import Classifier
    from harnest.tracking.judged import Judged


def evaluate(cfg: "DictConfig", checkpoint: Path, figures: Path | None = None) -> dict[str, float]:
    """Loss, accuracy and macro-F1 of ``checkpoint`` on the test subjects of its config.

    The folder ``figures`` gets the pictures that a run has of its validation subjects, of these.
    Raises `CheckpointError` where the checkpoint is not one of this config's network.
    """
    from harnest.assemble import make_trainer
    from harnest.results import judge
    from harnest.tracking.figures import draw

    data, classifier = _loaded(cfg, checkpoint)
    trainer = make_trainer(
        cfg,
        devices=1,  # several would each take as many windows, some of them twice
        strategy="auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
    )
    (scores,) = trainer.test(classifier, datamodule=data, verbose=False)
    if figures is not None:
        judged = judge(classifier, data, "test", trainer.strategy.root_device)
        draw(judged, {}, figures)
    return dict(scores)


def evaluated(cfg: "DictConfig", checkpoint: Path) -> "tuple[Classifier, Judged]":
    """The classifier of ``checkpoint``, and what it makes of the test subjects, window by window.

    Raises what `evaluate` raises.
    """
    import torch

    from harnest.results import judge

    data, classifier = _loaded(cfg, checkpoint)
    return classifier, judge(classifier, data, "test", torch.device("cpu"))


def check_tested(data: "WindowModule") -> None:
    """Raise `ConfigError` where no subject is held out for testing."""
    if not data.split.test_subjects:
        raise ConfigError(
            "data.test holds nobody out: this run has no test subjects to be evaluated on; its "
            "scores are those of validation"
        )


def _loaded(cfg: "DictConfig", checkpoint: Path) -> "tuple[WindowModule, Classifier]":
    import torch

    from harnest.assemble import make_classifier, make_data
    from harnest.fit import check_checkpoint
    from harnest.quiet import quieten

    quieten()
    data = make_data(cfg)
    check_tested(data)
    classifier = make_classifier(cfg, data, calibrate=False)  # the checkpoint has what it finds
    check_checkpoint(classifier, checkpoint)
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    classifier.load_state_dict(state["state_dict"])
    return data, classifier
