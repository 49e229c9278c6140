"""Activities and postural transitions, phone at the waist: the raw recordings of UCI data set 341.

Reyes-Ortiz, Oneto, Samà, Parra, Anguita: Transition-aware human activity recognition using
smartphones. Neurocomputing 171 (2016). Not for commercial use.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harnest.core.errors import ConfigError, DataError
from harnest.har.data.archive_source import ArchiveSource
from harnest.har.data.archives import Files
from harnest.har.data.digests import source_digest
from harnest.har.data.recording import Channel, DataSet, Recording, Segment, check
from harnest.har.data.tables import parse

_URL = (
    "https://archive.ics.uci.edu/static/public/341/"
    "smartphone+based+recognition+of+human+activities+and+postural+transitions.zip"
)
_LABELS = "RawData/labels.txt"
_RATE = 50.0

_ACTIVITIES = (
    "walking",
    "walking_upstairs",
    "walking_downstairs",
    "sitting",
    "standing",
    "laying",
    "stand_to_sit",
    "sit_to_stand",
    "sit_to_lie",
    "lie_to_sit",
    "stand_to_lie",
    "lie_to_stand",
)
"""In the order of the labels 1 to 12; the first six are the basic activities."""

_TEST_SUBJECTS = (2, 4, 9, 10, 12, 13, 18, 20, 24)
"""Those of Test/subject_id_test.txt."""

_OFFICIAL = (61, 30, 1214, 1_122_772)
"""Numbers of recordings, subjects, segments and steps in the data set."""


@dataclass(frozen=True, slots=True)
class Hapt:
    """61 recordings of 30 subjects, phone at the waist: accelerometer [g], gyroscope [rad/s].

    Windows of 2.56 s every 1.28 s are those of the data set's authors, in the same order.

    Args:
        archive: The data set's zip file. Without ``archive`` and ``root`` it is downloaded once.
        root: The folder of the unpacked data set.
        activities: 12, or 6 to leave the postural transitions unlabelled.
        gravity: Whether to split the acceleration into six channels: gravity, computed by a
            low-pass filter, and body acceleration, the rest.

    Raises:
        ConfigError: An option is invalid, or both ``archive`` and ``root`` are given.
    """

    archive: str | Path | None = None
    root: str | Path | None = None
    activities: int = 12
    gravity: bool = False

    name: ClassVar[str] = "hapt"

    def __post_init__(self) -> None:
        """Validate the options."""
        self._origin()
        if self.activities not in (6, 12):
            raise ConfigError(
                f"data.activities={self.activities}: choose 12, or 6 without postural transitions"
            )
        if not isinstance(self.gravity, bool):
            raise ConfigError(f"data.gravity={self.gravity}: choose true or false")

    def digest(self) -> str:
        """Return the digest of files and options; downloads the archive if none is given."""
        options = {"activities": self.activities, "gravity": self.gravity}
        return source_digest(self.name, 1, options, self._origin().digest())

    def read(self) -> DataSet:
        """Return the recordings in the order of labels.txt; raises `DataError` if damaged."""
        with self._origin().open() as files:
            return _read(files, self.activities, self.gravity)

    def _origin(self) -> ArchiveSource:
        return ArchiveSource(
            self.archive,
            self.root,
            url=_URL,
            name="hapt.zip",
            marker=_LABELS,
            reads=("RawData/",),
            check=_check_official,
        )


def _check_official(files: Files) -> None:
    """Raise `DataError` unless ``files`` are the complete published data set."""
    data_set = check(_read(files, 12, gravity=False))
    found = (
        len(data_set.recordings),
        len(data_set.subjects),
        sum(len(recording.segments) for recording in data_set.recordings),
        sum(len(recording.signal) for recording in data_set.recordings),
    )
    if found != _OFFICIAL:
        raise DataError(
            f"{files.where}: recordings, subjects, segments and steps are {found}, not {_OFFICIAL}"
        )


def _read(files: Files, activities: int, gravity: bool) -> DataSet:
    experiments = _segments(files)

    def recording(key: tuple[int, int]) -> Recording:
        experiment, subject = key
        segments = tuple(s for s in experiments[key] if s.activity < activities)
        signal = _signal(files, f"exp{experiment:02d}_user{subject:02d}.txt")
        if gravity:
            signal = _separated(signal)
        return Recording(f"exp{experiment:02d}-subject{subject:02d}", subject, signal, segments)

    # Threads run in parallel: unpacking, parsing and filtering release the GIL.
    with ThreadPoolExecutor() as threads:
        recordings = tuple(threads.map(recording, experiments))
    subjects = {subject for _, subject in experiments}
    kinds = [("body_acc", "g"), ("gravity", "g")] if gravity else [("acc", "g")]
    return DataSet(
        name=Hapt.name,
        rate=_RATE,
        channels=tuple(
            Channel(f"{kind}_{axis}", unit)
            for kind, unit in [*kinds, ("gyro", "rad/s")]
            for axis in "xyz"
        ),
        activities=_ACTIVITIES[:activities],
        recordings=recordings,
        test_subjects=tuple(subject for subject in _TEST_SUBJECTS if subject in subjects),
    )


def _segments(files: Files) -> dict[tuple[int, int], list[Segment]]:
    """Return each recording's segments, by experiment and subject, as labels.txt orders them."""
    where = f"{files.where}: {_LABELS}"
    table = parse(files.read(_LABELS), 5, np.int64, where)
    segments: dict[tuple[int, int], list[Segment]] = {}
    for experiment, subject, label, first, last in table.tolist():
        if not 1 <= label <= len(_ACTIVITIES):
            raise DataError(f"{where}: label {label}: labels are 1 to 12; is it another data set?")
        # In labels.txt steps start at 1 and the last one is inclusive.
        segments.setdefault((experiment, subject), []).append(Segment(first - 1, last, label - 1))
    present = {
        name for name in files.names if re.fullmatch(r"RawData/acc_exp\d+_user\d+\.txt", name)
    }
    unlabelled = present - {f"RawData/acc_exp{e:02d}_user{s:02d}.txt" for e, s in segments}
    if unlabelled:
        raise DataError(f"{where} has no label for {min(unlabelled)}: fetch the data set again")
    return segments


def _signal(files: Files, file: str) -> NDArray[np.float32]:
    """Return (time, 6): the accelerometer's axes, then the gyroscope's."""
    acceleration, rotation = (
        parse(files.read(name), 3, np.float32, f"{files.where}: {name}")
        for name in (f"RawData/acc_{file}", f"RawData/gyro_{file}")
    )
    if len(acceleration) != len(rotation):
        raise DataError(
            f"{files.where}: RawData/acc_{file} has {len(acceleration)} lines and "
            f"RawData/gyro_{file} has {len(rotation)}: fetch the data set again"
        )
    return np.hstack([acceleration, rotation])


def _separated(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (time, 9): body acceleration, gravity, angular rate.

    Gravity is the output of a Butterworth low-pass filter with a corner at 0.3 Hz, as in the data
    set's features_info.txt, of third order like the noise filter there. The filter runs forwards
    and backwards over the whole recording, so that gravity has no lag. Gravity and body
    acceleration add up to the measured acceleration.
    """
    from scipy.signal import butter, sosfiltfilt  # type: ignore[import-untyped]

    corner: NDArray[np.float64] = butter(3, 0.3, fs=_RATE, output="sos")
    total, rotation = signal[:, :3], signal[:, 3:]
    # Padding of 5 s lets the filter settle; a short recording allows less.
    settle = min(len(total) - 1, round(5 * _RATE))
    gravity: Any = sosfiltfilt(corner, total.astype(np.float64), axis=0, padlen=settle)
    return np.hstack([total - gravity, gravity, rotation]).astype(np.float32)
