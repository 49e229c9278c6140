"""Activities, phone at the waist, with windows cut by the authors: UCI data set 240.

Anguita, Ghio, Oneto, Parra, Reyes-Ortiz: A public domain dataset for human activity recognition
using smartphones. ESANN (2013). Licence CC BY 4.0.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harnest.core.errors import DataError
from harnest.har.data.archive_source import ArchiveSource
from harnest.har.data.archives import Files
from harnest.har.data.digests import source_digest
from harnest.har.data.recording import Channel, DataSet, Recording, Segment, check
from harnest.har.data.tables import parse

_URL = (
    "https://archive.ics.uci.edu/static/public/240/human+activity+recognition+using+smartphones.zip"
)
_INNER = "UCI HAR Dataset.zip"
"""The archive nested in the published one, which contains the data set."""
_MARKER = "train/y_train.txt"
_READS = tuple(
    f"{part}/{kind}"
    for part in ("train", "test")
    for kind in ("y_", "subject_", "Inertial Signals/")
)

_ACTIVITIES = (
    "walking",
    "walking_upstairs",
    "walking_downstairs",
    "sitting",
    "standing",
    "laying",
)
"""In the order of the labels 1 to 6."""

_CHANNELS = tuple(
    Channel(f"{kind}_{axis}", unit)
    for kind, unit in (("total_acc", "g"), ("body_acc", "g"), ("body_gyro", "rad/s"))
    for axis in "xyz"
)
"""Named like the files: total acceleration, body acceleration without gravity, angular rate."""

_STEPS = 128
_OFFICIAL = {"train": 7352, "test": 2947}
"""Number of windows in each part of the data set."""


@dataclass(frozen=True, slots=True)
class UciHar:
    """10299 windows of 30 subjects, phone at the waist: 9 channels, 128 steps at 50 Hz each.

    The authors published windows that overlap by half, not the recordings. Each window therefore is
    a separate recording with one segment. The longest possible window is 2.56 s, which gives the
    authors' windows in their order, training before test.

    Args:
        archive: The data set's zip file, or the one nested in it. Without ``archive`` and ``root``
            it is downloaded once.
        root: The folder of the unpacked data set.

    Raises:
        ConfigError: Both ``archive`` and ``root`` are given.
    """

    archive: str | Path | None = None
    root: str | Path | None = None

    name: ClassVar[str] = "uci_har"

    def __post_init__(self) -> None:
        """Validate the options."""
        self._origin()

    def digest(self) -> str:
        """Return the digest of the files; downloads the archive if none is given."""
        return source_digest(self.name, 1, {}, self._origin().digest())

    def read(self) -> DataSet:
        """Return the windows as recordings; raises `DataError` for inconsistent files."""
        with self._origin().open() as files:
            return _read(files)

    def _origin(self) -> ArchiveSource:
        return ArchiveSource(
            self.archive,
            self.root,
            url=_URL,
            name="uci_har.zip",
            marker=_MARKER,
            reads=_READS,
            check=_check_official,
            inner=_INNER,
        )


def _check_official(files: Files) -> None:
    """Raise `DataError` unless ``files`` are the complete published data set."""
    data_set = check(_read(files))
    for part, count in _OFFICIAL.items():
        found = sum(recording.name.startswith(part) for recording in data_set.recordings)
        if found != count:
            raise DataError(f"{files.where}: {found} windows for {part}, not {count}")


def _read(files: Files) -> DataSet:
    recordings: list[Recording] = []
    members: dict[str, set[int]] = {}
    for part in ("train", "test"):
        labels, subjects = (
            _column(files, f"{part}/{kind}_{part}.txt") for kind in ("y", "subject")
        )
        signals = _signals(files, part)
        if not len(labels) == len(subjects) == len(signals):
            raise DataError(
                f"{files.where}: {part} has {len(signals)} windows, {len(labels)} labels and "
                f"{len(subjects)} subjects: fetch the data set again"
            )
        if not np.isin(labels, range(1, len(_ACTIVITIES) + 1)).all():
            raise DataError(
                f"{files.where}: {part}/y_{part}.txt holds labels other than 1 to 6: is it another "
                "data set?"
            )
        members[part] = set(subjects.tolist())
        recordings += (
            Recording(f"{part}-{row:05d}", subject, signal, (Segment(0, _STEPS, label - 1),))
            for row, (signal, label, subject) in enumerate(
                zip(signals, labels.tolist(), subjects.tolist(), strict=True), 1
            )
        )
    both = members["train"] & members["test"]
    if both:
        raise DataError(
            f"{files.where}: subjects {sorted(both)} are in both train and test: it is not the "
            "data set as published, fetch it again"
        )
    return DataSet(
        name=UciHar.name,
        rate=50.0,
        channels=_CHANNELS,
        activities=_ACTIVITIES,
        recordings=tuple(recordings),
        test_subjects=tuple(sorted(members["test"])),
    )


def _column(files: Files, name: str) -> NDArray[np.int64]:
    return parse(files.read(name), 1, np.int64, f"{files.where}: {name}")[:, 0]


def _signals(files: Files, part: str) -> NDArray[np.float32]:
    """Return all windows of a part, (windows, 128, 9)."""
    names = [f"{part}/Inertial Signals/{channel.name}_{part}.txt" for channel in _CHANNELS]

    def read(name: str) -> NDArray[np.float32]:
        return parse(files.read(name), _STEPS, np.float32, f"{files.where}: {name}")

    with ThreadPoolExecutor() as threads:  # unpacking and parsing release the GIL
        tables = list(threads.map(read, names))
    for name, table in zip(names, tables, strict=True):
        if len(table) != len(tables[0]):
            raise DataError(
                f"{files.where}: {name} has {len(table)} lines and {names[0]} has "
                f"{len(tables[0])}: fetch the data set again"
            )
    return np.stack(tables, axis=-1)
