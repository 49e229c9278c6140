"""Cutting of recordings into windows: fixed-length slices of each labelled segment."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harnest.core.errors import DataError
from harnest.har.data.recording import DataSet


class WindowArrays(NamedTuple):
    """n windows: signals, float32 (n, time, channels); activities and subjects, int64 (n,)."""

    signals: NDArray[np.float32]
    labels: NDArray[np.int64]
    subjects: NDArray[np.int64]


def cut_windows(data_set: DataSet, length: int, step: int) -> WindowArrays:
    """Cut each labelled segment into windows.

    The first window starts at the start of its segment, and no window extends beyond the segment's
    end, so each shows one activity of one subject. Windows are in the order of recordings, segments
    and time.

    Args:
        data_set: The recordings.
        length: Steps per window.
        step: Steps between the starts of consecutive windows.

    Raises:
        ValueError: ``length`` or ``step`` is below 1.
        DataError: No segment is long enough for one window.
    """
    if length < 1 or step < 1:
        raise ValueError(f"windows of {length} steps every {step} steps: both must be at least 1")
    segments = [
        (recording, segment) for recording in data_set.recordings for segment in recording.segments
    ]
    counts = [
        max(0, (segment.stop - segment.start - length) // step + 1) for _, segment in segments
    ]
    total = sum(counts)
    if total == 0:
        longest = max((segment.stop - segment.start for _, segment in segments), default=0)
        raise DataError(
            f"{data_set.name}: a window of {length / data_set.rate:g} s ({length} steps) is longer "
            f"than every labelled segment; the longest has {longest / data_set.rate:g} s "
            f"({longest} steps): choose a data.window no longer than that"
        )
    signals = np.empty((total, length, len(data_set.channels)), np.float32)
    end = 0
    for (recording, segment), count in zip(segments, counts, strict=True):
        # A loop, since segments have few windows: a strided view of all takes numpy longer.
        for start in range(segment.start, segment.start + count * step, step):
            signals[end] = recording.signal[start : start + length]
            end += 1
    return WindowArrays(
        signals,
        np.repeat(np.array([segment.activity for _, segment in segments], np.int64), counts),
        np.repeat(np.array([recording.subject for recording, _ in segments], np.int64), counts),
    )
