"""Evaluation of a checkpoint on the test subjects."""

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harnest.core.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from harnest.har.classifier import Classifier
    from harnest.har.data.data_module import WindowModule
    from harnest.har.predictions import Predictions

log = logging.getLogger(__name__)


def evaluate(cfg: "DictConfig", checkpoint: Path, figures: Path | None = None) -> dict[str, float]:
    """Evaluate a checkpoint on the test subjects.

    If this CPU cannot compute the network in the config's precision, a warning is logged and the
    scores are computed in 32-true.

    Args:
        cfg: The config of the run that wrote the checkpoint.
        checkpoint: The checkpoint file.
        figures: Folder for the figures of the test windows; None draws none.

    Returns:
        ``test/loss``, ``test/accuracy`` and ``test/macro_f1``.

    Raises:
        ConfigError: The config holds out no test subjects.
        CheckpointError: The checkpoint does not belong to this config's network.
    """
    import torch

    from harnest.har.artifacts import predict
    from harnest.har.figures import draw
    from harnest.training.components import make_trainer
    from harnest.training.precision import precision_error

    data, classifier = _loaded(cfg, checkpoint)
    make = partial(
        make_trainer,
        devices=1,  # several devices would evaluate some windows twice to get equal shares
        strategy="auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
    )
    trainer = make(cfg)
    few = torch.from_numpy(data.windows.signals[:2])
    if (why := precision_error(trainer, classifier.network, few)) is not None:
        # Happens if the run was trained on another machine.
        log.warning(
            "this CPU does not compute %s in %s (%s); the test is computed in 32-true",
            type(classifier.network).__name__,
            cfg.trainer.precision,
            why,
        )
        cfg = cfg.copy()
        cfg.trainer.precision = "32-true"
        trainer = make(cfg)
    (scores,) = trainer.test(classifier, datamodule=data, verbose=False)
    if figures is not None:
        predictions = predict(classifier, data, "test", trainer.strategy.root_device)
        draw(predictions, {}, figures)
    return dict(scores)


def chance_scores(cfg: "DictConfig") -> dict[str, float]:
    """Return loss, accuracy and macro-F1 of guessing on the test subjects of a config.

    A guess is either uniform over the classes, or always the most frequent class of the test
    windows. Accuracy and macro-F1 are each the better one of the two. The expected F1 of a uniform
    guess is ``2 p q / (p + q)`` for a class whose share of the windows is ``p``, where ``q`` is one
    over the number of classes; macro-F1 is the mean over the classes that occur. The loss is that
    of the uniform guess: the logarithm of the number of classes.
    """
    import numpy as np

    from harnest.core.silence_libraries import silence_libraries
    from harnest.har.components import make_data

    silence_libraries()
    data = make_data(cfg)
    _, labels = data.tensors("test")
    classes = len(data.windows.activities)
    shares = np.bincount(labels.numpy(), minlength=classes) / len(labels)
    there, uniform, most = shares[shares > 0], 1 / classes, float(shares.max())
    constant_f1 = 2 * most / (1 + most) / len(there)
    uniform_f1 = float(np.mean(2 * there * uniform / (there + uniform)))
    return {
        "test/loss": float(np.log(classes)),
        "test/accuracy": max(uniform, most),
        "test/macro_f1": max(uniform_f1, constant_f1),
    }


def test_predictions(cfg: "DictConfig", checkpoint: Path) -> "tuple[Classifier, Predictions]":
    """Load the classifier of ``checkpoint`` and predict every window of the test subjects.

    Raises the errors that `evaluate` raises.
    """
    import torch

    from harnest.har.artifacts import predict

    data, classifier = _loaded(cfg, checkpoint)
    return classifier, predict(classifier, data, "test", torch.device("cpu"))


def check_has_test_data(data: "WindowModule") -> None:
    """Raise `ConfigError` if no subject is held out for testing."""
    if not data.split.test_subjects:
        raise ConfigError(
            "data.test holds out no subject: this run has no test subjects to evaluate on, only "
            "validation scores"
        )


def _loaded(cfg: "DictConfig", checkpoint: Path) -> "tuple[WindowModule, Classifier]":
    import torch

    from harnest.core.silence_libraries import silence_libraries
    from harnest.har.components import make_classifier, make_data
    from harnest.training.fit import check_checkpoint

    silence_libraries()
    data = make_data(cfg)
    check_has_test_data(data)
    # The checkpoint contains the constants that the initialization from data would compute.
    classifier = make_classifier(cfg, data, init_from_data=False)
    check_checkpoint(classifier, checkpoint)
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    classifier.load_state_dict(state["state_dict"])
    return data, classifier
