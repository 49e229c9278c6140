"""Limits on the values of HAR's config keys."""

from collections.abc import Mapping

from harnest.training.config import PARAMETERS
from harnest.training.limits import COUNT, POSITIVE, SHARE, Limit

#: Metrics that the classifier logs in each epoch and that can be a run's objective.
#: ``train/loss`` is for runs that train on all subjects.
METRICS = ("val/loss", "val/accuracy", "val/macro_f1", "train/loss")

_METRIC: Limit = (lambda x: x in METRICS, f"one of {', '.join(METRICS)}")
_MODES = ("max", "min")

LIMITS: Mapping[str, Limit] = {
    "folds": (lambda x: x == "loso" or (isinstance(x, int) and x >= 2), "loso or at least 2"),
    "data.batch_size": COUNT,
    "data.window": POSITIVE,
    "data.step": POSITIVE,
    "model.hidden_size": COUNT,
    "model.layers": COUNT,
    "model.dropout": SHARE,
    "loss.label_smoothing": SHARE,
    "objective.metric": _METRIC,
    "objective.extra": (
        lambda x: set(x) <= {*METRICS, PARAMETERS} and set(x.values()) <= set(_MODES),
        f"max or min for each of {', '.join((*METRICS, PARAMETERS))}",
    ),
    # Early stopping silently ignores a metric that is not logged, such as a misspelled one.
    "callbacks.early_stopping.monitor": _METRIC,
}
