"""Data sets in the shape of the published ones, small and made up."""

import io
import os
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from harnest.har.data.recording import Channel, DataSet, Recording, Segment

SHARED = Path(os.environ.get("HARNEST_SHARED_DATA", Path(__file__).parents[2] / "../shared/data"))
REAL_HAPT = SHARED / "HAPT Data Set.zip"


def data_set(lengths: Mapping[int, list[int]], rate: float = 10.0, channels: int = 2) -> DataSet:
    """One recording per subject, with segments of these lengths, of activity 0, 1, 0, ...

    A step's value is its number within the recording, plus 1000 times the subject; channel c
    adds c / 10. Three unlabelled steps come before each segment.
    """
    recordings = []
    for subject, parts in lengths.items():
        segments, end = [], 0
        for index, length in enumerate(parts):
            segments.append(Segment(end + 3, end + 3 + length, index % 2))
            end += 3 + length
        steps = np.arange(end + 3)[:, None] + 1000 * subject + np.arange(channels) / 10
        recordings.append(
            Recording(f"r{subject}", subject, steps.astype(np.float32), tuple(segments))
        )
    return DataSet(
        name="made",
        rate=rate,
        channels=tuple(Channel(f"c{channel}", "g") for channel in range(channels)),
        activities=("rest", "walk"),
        recordings=tuple(recordings),
    )


@cache
def hapt_files(seed: int = 0) -> dict[str, bytes]:
    """Five recordings of the subjects 1 to 4, each with all twelve activities."""
    rng = np.random.default_rng(seed)
    files, labels = {}, []
    for experiment, subject in ((1, 1), (2, 1), (3, 2), (4, 3), (5, 4)):
        end = 40
        for label in (5, 7, 4, 8, 1, 2, 3, 9, 6, 10, 11, 12):
            length = int(rng.integers(130, 200))
            labels.append(f"{experiment} {subject} {label} {end + 1} {end + length}")
            end += length
        for kind in ("acc", "gyro"):
            rows = rng.normal(size=(end + 25, 3)).tolist()
            text = "\n".join(" ".join(map(repr, row)) for row in rows) + "\n"
            files[f"RawData/{kind}_exp{experiment:02d}_user{subject:02d}.txt"] = text.encode()
    files["RawData/labels.txt"] = ("\n".join(labels) + "\n").encode()
    files["README.txt"] = b"made up\n"
    return files


def uci_har_values(seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For train and test: signals (n, 128, 9), labels 1 to 6 and subjects (n,)."""
    rng = np.random.default_rng(seed)
    values = {}
    for part, subjects in (("train", (1, 3, 5)), ("test", (2, 4))):
        who = np.repeat(subjects, 12)
        signals = rng.normal(size=(len(who), 128, 9)).round(7)
        values[part] = signals, np.tile(np.arange(1, 7), len(who) // 6), who
    return values


@cache
def uci_har_files(seed: int = 0) -> dict[str, bytes]:
    """Three subjects to train and two to test, twelve windows each."""
    names = [f"{k}_{a}" for k in ("total_acc", "body_acc", "body_gyro") for a in "xyz"]
    files = {"activity_labels.txt": b"1 WALKING\n", "train/X_train.txt": b"not read\n"}
    for part, (signals, labels, subjects) in uci_har_values(seed).items():
        for channel, name in enumerate(names):
            lines = ("".join(map(_sixteen, row)) for row in signals[:, :, channel].tolist())
            files[f"{part}/Inertial Signals/{name}_{part}.txt"] = "\n".join(lines).encode() + b"\n"
        files[f"{part}/y_{part}.txt"] = "\n".join(map(str, labels)).encode() + b"\n"
        files[f"{part}/subject_{part}.txt"] = "\n".join(map(str, subjects)).encode() + b"\n"
    return files


def _sixteen(value: float) -> str:
    """Write a number as the data set does: 16 characters, three digits of exponent."""
    mantissa, exponent = f"{value:.7e}".split("e")
    return f"{mantissa}e{exponent[0]}{int(exponent[1:]):03d}".rjust(16)


def zipped(files: Mapping[str, bytes], top: str = "") -> bytes:
    """The bytes of an archive of ``files``, below the folder ``top``."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            # Of a fixed date: the same files make the same archive.
            info = zipfile.ZipInfo(f"{top}{name}")
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def unpacked(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write ``files`` below ``folder``, and return it."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
