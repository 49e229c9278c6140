"""Predictions with their labels, and the scores computed from them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Predictions:
    """n windows of one part of a data set, and a classifier's predictions."""

    part: str
    """``validation`` or ``test``."""
    data_set: str
    signals: NDArray[np.float32]
    """(n, time, channels), in physical units."""
    labels: NDArray[np.int64]
    """(n,), the true activities."""
    subjects: NDArray[np.int64]
    """(n,), the subject of each window."""
    probabilities: NDArray[np.float32]
    """(n, activities)."""
    activities: tuple[str, ...]
    channels: tuple[str, ...]
    """Names with units."""
    rate: float
    """Steps per second [Hz]."""

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable activity of each window, (n,)."""
        predicted: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return predicted


def confusion(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Count windows by true (rows) and predicted (columns) activity, (classes, classes)."""
    counts = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)


def per_class(matrix: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Return precision, recall and F1 of each activity, (classes,), from a confusion matrix.

    A score is NaN where its denominator is 0. F1 is 2 TP / (2 TP + FP + FN), which is 0 where only
    one of precision and recall is undefined.
    """
    hits, true, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    return {
        "precision": _share(hits, predicted),
        "recall": _share(hits, true),
        "F1": _share(2 * hits, true + predicted),
    }


def macro_f1(matrix: NDArray[np.int64]) -> float:
    """Return the mean F1 over activities that occur or are predicted, as torchmetrics does."""
    return float(np.nanmean(per_class(matrix)["F1"]))


def _share(part: NDArray[np.int64], of: NDArray[np.int64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = np.full(len(of), np.nan)
    return np.divide(part, of, out=shares, where=of > 0)
