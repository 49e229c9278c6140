"""Windows prepared the first time and from the cache, beside pandas and numpy.

    [HAPT=FILE] python benchmarks/windows.py [TIMES]

pandas   ``pandas.read_csv`` of the text files, and the same windows cut with numpy
first    ``prepare`` with an empty cache: digest, parsing, cutting, and writing to the cache
cached   ``prepare`` with what that left; its arrays are memory-mapped, and nothing is read yet
read     the same, and each number is read once

Each time is of a process of its own, without its start and imports, in turns, after a turn that is
not counted: no disk is waited for. Medians of TIMES (default 5), in seconds, and of the ratios turn
by turn. HAPT's text files are read by both from the folder that the archive unpacks to, and then by
both from the archive. The watch recordings come as no text: pandas gets each as a text file. That
the windows of both are the same is checked.
"""

import os
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow.csv  # noqa: F401  not to be imported while the clock runs
from hapt import archive
from numpy.lib.stride_tricks import sliding_window_view

from harnest.har.data.prepare import prepare
from harnest.har.data.source import Source
from harnest.har.data.sources.hapt import Hapt
from harnest.har.data.sources.watch import Watch

WAYS = ("pandas", "first", "cached", "read")
SECONDS = {"watch": (4.0, 2.0), "HAPT": (2.56, 1.28)}  # of a window, and from one to the next
RATE = 50


def figures(times: int = 5) -> dict[str, float]:
    """Seconds of each way and their ratios to pandas', by data set; HAPT's where its archive is."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        for case, (source, files) in cases(Path(name)).items():
            took = measure(case, source, files, Path(name) / "cache", times)
            for way, seconds in took.items():
                ratios = [a / b for a, b in zip(seconds, took["pandas"], strict=True)]
                found[f"{case} {way}"] = statistics.median(ratios)
                found[f"{case} {way} seconds"] = statistics.median(seconds)
    return found


def cases(folder: Path) -> dict[str, tuple[Source, Path]]:
    """Our source, and the folder or archive that pandas reads, of each comparison."""
    write_watch(folder / "watch")
    found: dict[str, tuple[Source, Path]] = {"watch": (Watch(), folder / "watch")}
    packed = archive()
    if packed is not None:
        with zipfile.ZipFile(packed) as files:
            files.extractall(folder / "HAPT")
        found["HAPT"] = Hapt(root=folder / "HAPT", activities=6), folder / "HAPT"
        found["HAPT zip"] = Hapt(archive=packed, activities=6), packed
    return found


def write_watch(folder: Path) -> None:
    """Write the watch recordings as text, a file each, and a table of subjects and activities."""
    folder.mkdir()
    lines = []
    for number, recording in enumerate(Watch().read().recordings):
        # All digits of a float32.
        np.savetxt(folder / f"{number}.txt", recording.signal, fmt="%.9g")
        (segment,) = recording.segments
        lines.append(f"{number} {recording.subject} {segment.activity}\n")
    (folder / "labels.txt").write_text("".join(lines))


def measure(
    case: str, source: Source, files: Path, cache: Path, times: int
) -> dict[str, list[float]]:
    """Seconds of each way, in turns."""
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    data = case.removesuffix(" zip")
    for turn in range(times + 1):
        os.environ["HARNEST_CACHE"] = str(cache / f"{case}-{turn}")
        done = {way: alone(way, data, source, files) for way in WAYS}
        for way, (seconds, content) in done.items():
            if not np.allclose(content, done["pandas"][1]):
                raise SystemExit(f"{case}: the windows of {way} are not those of pandas")
            if turn:
                took[way].append(seconds)
    return took


def alone(way: str, data: str, source: Source, files: Path) -> tuple[float, list[float]]:
    """Prepare windows in a process of its own: its seconds, and what tells windows apart."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(timed, way, data, source, files).result()


def timed(way: str, data: str, source: Source, files: Path) -> tuple[float, list[float]]:
    """Prepare windows in this process."""
    window, step = SECONDS[data]
    length, stride = round(window * RATE), round(step * RATE)
    began = time.perf_counter()
    if way == "pandas":
        signals, labels, subjects = BY_PANDAS[data](files, length, stride)
    else:
        windows = prepare(source, window=window, step=step)
        signals, labels, subjects = windows.signals, windows.labels, windows.subjects
    if way == "read":
        signals.sum()
    seconds = time.perf_counter() - began
    sums = signals.sum(axis=(0, 1), dtype=float).tolist()
    return seconds, [*signals.shape, *sums, float(labels.sum()), float(subjects.sum())]


def hapt_by_pandas(place: Path, length: int, stride: int) -> tuple[np.ndarray, ...]:
    """HAPT's windows of the six basic activities, from its folder or its archive."""
    if place.is_dir():
        return cut_hapt(lambda name: table(place / name), length, stride)
    with zipfile.ZipFile(place) as files:
        return cut_hapt(lambda name: table(files.open(name)), length, stride)


def cut_hapt(
    read: Callable[[str], pandas.DataFrame], length: int, stride: int
) -> tuple[np.ndarray, ...]:
    """The windows of all files that the labels name, in the labels' order."""
    pieces, labels, subjects = [], [], []
    for (experiment, subject), segments in read("RawData/labels.txt").groupby([0, 1], sort=False):
        name = f"exp{experiment:02d}_user{subject:02d}.txt"
        axes = [read(f"RawData/{kind}_{name}").to_numpy(np.float32) for kind in ("acc", "gyro")]
        signal = np.hstack(axes)
        for label, first, last in segments[[2, 3, 4]].to_numpy():
            if label <= 6 and last - first + 1 >= length:
                pieces.append(cut(signal[first - 1 : last], length, stride))
                labels += [label - 1] * len(pieces[-1])
                subjects += [subject] * len(pieces[-1])
    return np.concatenate(pieces), np.array(labels), np.array(subjects)


def watch_by_pandas(folder: Path, length: int, stride: int) -> tuple[np.ndarray, ...]:
    """The windows of the watch recordings, from their text files."""
    pieces, labels, subjects = [], [], []
    for number, subject, activity in table(folder / "labels.txt").to_numpy():
        signal = table(folder / f"{number}.txt").to_numpy(np.float32)
        if len(signal) >= length:
            pieces.append(cut(signal, length, stride))
            labels += [activity] * len(pieces[-1])
            subjects += [subject] * len(pieces[-1])
    return np.concatenate(pieces), np.array(labels), np.array(subjects)


def table(file: Any) -> pandas.DataFrame:
    return pandas.read_csv(file, sep=" ", header=None)


def cut(signal: np.ndarray, length: int, stride: int) -> np.ndarray:
    """Windows (n, time, channels) of a labelled segment."""
    return sliding_window_view(signal, length, axis=0)[::stride].swapaxes(1, 2)


BY_PANDAS = {"watch": watch_by_pandas, "HAPT": hapt_by_pandas}


def main() -> None:
    """Print a row for each data set and way."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    found = figures(times)
    print(f"{times} times each: medians\n{'':18}{'seconds':>10}{'of pandas':>12}")
    for name in (name for name in found if f"{name} seconds" in found):
        print(f"{name:18}{found[f'{name} seconds']:>10.4f}{found[name]:>12.4f}")


if __name__ == "__main__":
    main()
