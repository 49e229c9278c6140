"""Shoulder exercises: the smartwatch recordings in the package seglearn."""

import hashlib
import importlib.util
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from harnest.core.errors import DataError
from harnest.har.data.digests import files_digest, source_digest
from harnest.har.data.recording import Channel, DataSet, Recording, Segment

_SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"
"""SHA-256 of data/watch_dataset.npy in seglearn 1.2.5."""

_INSTALL = "reinstall it with pip install --force-reinstall --no-deps seglearn==1.2.5"

# The package states the rate but no units, so they are inferred from the values. The median length
# of the acceleration vector is 1.07: it includes gravity and is in g. The angular rate reaches 29
# and typically is 1 to 2.5. In rad/s an arm then swings by a right angle in about a second; in
# degrees per second it would hardly move. The rotation of gravity in the acceleration confirms
# rad/s: a fit agrees within a factor of 3, whereas for degrees it is off by a factor of 20.
_CHANNELS = (
    *(Channel(f"acc_{axis}", "g") for axis in "xyz"),
    *(Channel(f"gyro_{axis}", "rad/s") for axis in "xyz"),
)

_ACTIVITIES = {
    "PEN": "pendulum",
    "ABD": "abduction",
    "FEL": "forward_elevation",
    "IR": "internal_rotation",
    "ER": "external_rotation",
    "TRAP": "trapezius_extension",
    "ROW": "upright_row",
}


@dataclass(frozen=True, slots=True)
class Watch:
    """140 recordings of 10 subjects, 7 exercises with either arm: 6 axes, 50 Hz.

    Each recording shows a single exercise. The data set defines no test subjects. From Burns
    et al., Shoulder physiotherapy exercise recognition: machine learning the inertial signals from
    a smartwatch, Physiological Measurement 39 (2018).
    """

    name: ClassVar[str] = "watch"

    def digest(self) -> str:
        """Return the digest of the recordings; raises `DataError` if seglearn is missing."""
        path = _file()
        try:
            content = files_digest({path.name: path})
        except OSError as error:
            raise _unreadable(path, error) from error
        return source_digest(self.name, 1, {}, content)

    def read(self) -> DataSet:
        """Return the recordings; raises `DataError` unless the file is that of seglearn 1.2.5."""
        path = _file()
        try:
            content = path.read_bytes()
        except OSError as error:
            raise _unreadable(path, error) from error
        # Unpickling can run arbitrary code, so only the known file is loaded.
        if hashlib.sha256(content).hexdigest() != _SHA256:
            raise DataError(f"{path} is not the file of seglearn 1.2.5 (SHA-256): {_INSTALL}")
        table: dict[str, Any] = np.load(io.BytesIO(content), allow_pickle=True).item()
        activities = tuple(_ACTIVITIES[label] for label in table["y_labels"])
        return DataSet(
            name=self.name,
            rate=50.0,
            channels=_CHANNELS,
            activities=activities,
            recordings=tuple(
                Recording(
                    name=f"subject{subject:02d}-{activities[label]}-{'right' if right else 'left'}",
                    subject=int(subject),
                    signal=np.asarray(signal, np.float32, order="C"),
                    segments=(Segment(0, len(signal), int(label)),),
                )
                for signal, label, subject, right in zip(
                    table["X"], table["y"], table["subject"], table["side"], strict=True
                )
            ),
        )


def _file() -> Path:
    # Located without an import: seglearn imports scikit-learn, which takes seconds.
    package = importlib.util.find_spec("seglearn")
    if package is None or package.origin is None:
        raise DataError(
            "the recordings of data=watch are in the package seglearn, which is not installed: "
            "pip install seglearn==1.2.5, or choose another data set"
        )
    return Path(package.origin).with_name("data") / "watch_dataset.npy"


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path} cannot be read ({error.strerror}): {_INSTALL}")
