"""A checkpoint's scores on the subjects that nothing was chosen by."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig


def evaluate(cfg: "DictConfig", checkpoint: Path, figures: Path | None = None) -> dict[str, float]:
    """Loss, accuracy and macro-F1 of ``checkpoint`` on the test subjects of its config.

    The folder ``figures`` gets the pictures that a run has of its validation subjects, of these.
    Raises `CheckpointError` where the checkpoint is not one of this config's network.
    """
    import torch

    from harnest.assemble import build, make_classifier, make_data
    from harnest.fit import check_checkpoint
    from harnest.quiet import quieten
    from harnest.results import judge
    from harnest.tracking.figures import draw

    quieten()
    data = make_data(cfg)
    classifier = make_classifier(cfg, data)
    check_checkpoint(classifier, checkpoint)
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    classifier.load_state_dict(state["state_dict"])
    trainer = build(
        cfg.trainer,
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
