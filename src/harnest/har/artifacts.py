"""A run's artifacts: figures of its predictions, and the exported model."""

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

#: What loads a saved classifier where harnest is not installed.
_LOADER = Path(__file__).with_name("serving") / "harnest_classifier.py"

_UNTAKEN = re.compile(r"[^\w.\- :]")  # in a metric's name; a slash would make a path of it
_AT_ONCE = 128  # windows in one pass: more leave the cache, and take up to twice as long


def save_artifacts(components: RunComponents, directory: Path) -> None:
    """Record figures of the validation windows, and the model, in the runs of the MLflow loggers.

    Uses the weights of the best epoch if they were saved, else the last ones. Without validation
    subjects only the model is recorded. Errors are logged, not raised: a run that has its score
    does not fail because of its artifacts.
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
    """Let ``classifier`` judge the windows of ``validation`` or ``test``, on ``device``."""
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
    """Log the model with its scores on the validation windows, if there are any.

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
    """Put the best epoch's weights into the classifier; returns which epoch that was, if any."""
    file = components.checkpoint.best_model_path if components.checkpoint is not None else ""
    if not file:
        return None
    state = torch.load(file, map_location="cpu", weights_only=True)
    components.module.load_state_dict(state["state_dict"])
    return int(state["epoch"])
