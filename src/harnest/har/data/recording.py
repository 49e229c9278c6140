"""Recordings and data sets, and the checks that every source must pass."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harnest.core.errors import DataError


@dataclass(frozen=True, slots=True)
class Channel:
    """One measured quantity: its name and its physical unit."""

    name: str
    unit: str


@dataclass(frozen=True, slots=True)
class Segment:
    """Steps ``start`` (inclusive) to ``stop`` (exclusive) with one activity, given by index."""

    start: int
    stop: int
    activity: int


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """One subject's continuous signal, with its labelled segments.

    ``signal`` is float32, (time, channels), in the units of the data set's channels.
    """

    name: str
    subject: int
    signal: NDArray[np.float32]
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True, eq=False)
class DataSet:
    """All recordings of one source, and their common properties.

    ``rate`` is in Hz. ``test_subjects`` are those defined by the data set's authors; empty if there
    are none.
    """

    name: str
    rate: float
    channels: tuple[Channel, ...]
    activities: tuple[str, ...]
    recordings: tuple[Recording, ...]
    test_subjects: tuple[int, ...] = ()

    @property
    def subjects(self) -> tuple[int, ...]:
        """Every subject once, in ascending order."""
        return tuple(sorted({recording.subject for recording in self.recordings}))


def check(data_set: DataSet) -> DataSet:
    """Return ``data_set`` unchanged, or raise `DataError` for the first violated requirement."""
    if not data_set.recordings:
        raise DataError(f"{data_set.name}: no recordings; is the source empty?")
    if not 0 < data_set.rate < math.inf:
        raise DataError(f"{data_set.name}: sampling rate {data_set.rate} Hz; it must be above 0")
    for kind, names in (
        ("activity", data_set.activities),
        ("channel", tuple(channel.name for channel in data_set.channels)),
        ("recording", tuple(recording.name for recording in data_set.recordings)),
    ):
        if len(set(names)) != len(names):
            raise DataError(f"{data_set.name}: duplicate {kind} names: {names}")
    for recording in data_set.recordings:
        _check_recording(data_set, recording)
    unknown = set(data_set.test_subjects) - set(data_set.subjects)
    if unknown:
        raise DataError(f"{data_set.name}: test subjects {sorted(unknown)} have no recording")
    return data_set


def _check_recording(data_set: DataSet, recording: Recording) -> None:
    where = f"{data_set.name}, recording {recording.name}"
    if not isinstance(recording.subject, int | np.integer):
        raise DataError(f"{where}: subject {recording.subject!r}; it must be a whole number")
    signal = recording.signal
    if signal.dtype != np.float32 or signal.ndim != 2:
        raise DataError(
            f"{where}: signal is {signal.dtype} {signal.shape}, not float32 (time, channels)"
        )
    if signal.shape[1] != len(data_set.channels):
        raise DataError(f"{where}: {signal.shape[1]} channels instead of {len(data_set.channels)}")
    if not np.isfinite(signal).all():
        raise DataError(f"{where}: the signal holds NaN or infinite values")
    for segment in recording.segments:
        numbers = (segment.start, segment.stop, segment.activity)
        if not all(isinstance(number, int | np.integer) for number in numbers):
            raise DataError(f"{where}: segment {segment} is not made of whole numbers")
        if not 0 <= segment.start < segment.stop <= len(signal):
            raise DataError(f"{where}: segment {segment} lies outside its {len(signal)} steps")
        if not 0 <= segment.activity < len(data_set.activities):
            raise DataError(f"{where}: segment {segment} has an unknown activity")
