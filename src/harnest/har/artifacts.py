"""Artifacts of a finished training: figures of the validation windows, and the model."""

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from harnest.har.classifier import Classifier
from harnest.har.data.data_module import WindowModule
from harnest.har.figures import draw, save_to_draw
from harnest.har.predictions import Predictions, confusion, per_class
from harnest.tracking.outbox.runlog import RECORD
from harnest.tracking.run_writer import RECORDED_IN, RunWriter
from harnest.training import export
from harnest.training.components import RunComponents
from harnest.training.logger import MLflowLogger

log = logging.getLogger(__name__)

#: The module that loads a saved classifier where harnest is not installed.
_LOADER = Path(__file__).with_name("serving") / "harnest_classifier.py"

_UNTAKEN = re.compile(r"[^\w.\- :]")  # not in metric names; a slash would nest them
_AT_ONCE = 128  # windows per pass: more exceed the CPU cache and take up to twice as long


def save_artifacts(components: RunComponents, directory: Path) -> None:
    """Log figures of the validation windows, and the model, to the MLflow runs of a training.

    The weights are those of the best epoch if a checkpoint was kept, else the last ones. Without
    validation subjects only the model is logged. An error is logged as a warning, since a training
    that has its score must not fail because of an artifact.

    Args:
        components: The data, module and trainer of the training.
        directory: The run's directory.
    """
    loggers = [one for one in components.trainer.loggers if isinstance(one, MLflowLogger)]
    runs = [(one, one.run) for one in loggers if one.run is not None]
    if not runs:
        return
    classifier, data = cast(Classifier, components.module), cast(WindowModule, components.data)
    part, device = "validation", components.trainer.strategy.root_device
    is_judged = bool(data.split.validation_subjects)
    try:
        kept = _load_best(components)
        epoch = max(components.trainer.current_epoch - 1, 0) if kept is None else kept
        predictions = predict(classifier, data, part, device) if is_judged else None
    except Exception:
        log.warning("this run has neither figures nor a model in MLflow", exc_info=True)
        return
    for logger, run in runs:
        try:
            if predictions is not None and RECORDED_IN in os.environ:
                save_to_draw(predictions, logger.history, directory, kept)
            elif predictions is not None:
                made = directory / RECORD / "artifacts" / "figures" / part
                run.files(draw(predictions, logger.history, made, kept), f"figures/{part}")
            log_model(classifier, data, predictions, run, directory, epoch)
        except export.NotPortableError as error:
            log.warning("this run has no MLflow model: %s", error)
        except Exception:
            log.warning("not all of this run's figures could be made", exc_info=True)


def predict(
    classifier: Classifier, data: WindowModule, part: str, device: torch.device
) -> Predictions:
    """Classify the windows of one part of the data.

    Args:
        classifier: The classifier; afterwards it is on the CPU, in evaluation mode.
        data: The windows.
        part: ``validation`` or ``test``.
        device: The device to compute on.
    """
    signals, labels = data.tensors(part)
    windows = data.windows
    return Predictions(
        part=part,
        data_set=windows.name,
        signals=signals.numpy(),
        labels=labels.numpy(),
        subjects=windows.subjects[getattr(data.split, part)],
        probabilities=_probabilities(classifier, signals, device),
        activities=windows.activities,
        channels=tuple(f"{channel.name} [{channel.unit}]" for channel in windows.channels),
        rate=windows.rate,
    )


def _probabilities(
    classifier: Classifier, signals: torch.Tensor, device: torch.device
) -> NDArray[np.float32]:
    classifier.eval().to(device)
    batches = torch.split(signals, _AT_ONCE)
    with torch.inference_mode():
        components = [classifier(batch.to(device)).softmax(dim=1).cpu() for batch in batches]
    classifier.cpu()
    return torch.cat(components).float().numpy()


def log_model(
    classifier: Classifier,
    data: WindowModule,
    predictions: Predictions | None,
    run: RunWriter,
    directory: Path,
    epoch: int,
) -> None:
    """Log the model to MLflow, with its scores on the validation windows.

    Args:
        classifier: The classifier, with the weights of ``epoch``.
        data: The windows that it was trained on.
        predictions: Predictions of the validation windows; None if there are none.
        run: The MLflow run.
        directory: The run's directory.
        epoch: The epoch of the weights.

    Raises:
        NotPortableError: The network cannot be exported.
    """
    folder = directory / RECORD / "model"
    windows = data.windows
    facts: dict[str, Any] = {
        "data_set": windows.name,
        "digest": windows.digest,
        "activities": list(windows.activities),
        "channels": [asdict(channel) for channel in windows.channels],
        "rate": windows.rate,
        "steps": windows.signals.shape[1],
        "mean": classifier.mean.tolist(),
        "std": classifier.std.tolist(),
    }
    export.save(classifier, windows.signals[data.split.train[:8]], facts, _LOADER, folder)
    run.model(folder, _scores(predictions) if predictions is not None else {}, epoch)


def _scores(predictions: Predictions) -> Mapping[str, float]:
    matrix = confusion(predictions.labels, predictions.predicted, len(predictions.activities))
    f1 = per_class(matrix)["F1"]
    names = [_UNTAKEN.sub("_", activity) for activity in predictions.activities]
    return {
        "model/accuracy": float(np.trace(matrix) / matrix.sum()),
        "model/macro_f1": float(np.nanmean(f1)),
        **{
            f"model/f1/{name}": float(value)
            for name, value in zip(names, f1, strict=True)
            if np.isfinite(value)
        },
    }


def _load_best(components: RunComponents) -> int | None:
    """Load the best epoch's weights into the classifier; return the epoch, None if not kept."""
    file = components.checkpoint.best_model_path if components.checkpoint is not None else ""
    if not file:
        return None
    state = torch.load(file, map_location="cpu", weights_only=True)
    components.module.load_state_dict(state["state_dict"])
    return int(state["epoch"])
