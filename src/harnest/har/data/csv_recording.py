"""Reader of recordings in CSV files, with the channels, rate and units of a trained model."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harnest.core.errors import DataError
from harnest.har.data.recording import Channel

_TIMES = ("time", "t", "seconds")
_IN_SECONDS = (None, "s", "sec", "seconds")
_SAME = 0.01  # relative difference below which two rates are equal
_FASTEST = 10_000  # maximum ratio to the model's rate, since the filter would get too long
_GAP = 4  # maximum distance of two samples, in sampling intervals


@dataclass(frozen=True, eq=False)
class CsvRecording:
    """A recording: ``signal``, float32 (time, channels), at ``rate`` [Hz] from ``start`` [s] on."""

    signal: NDArray[np.float32]
    start: float
    rate: float
    resampled_from: float | None
    """The file's rate [Hz] if the recording was resampled, else None."""


def read_csv(
    file: Path, channels: Sequence[Channel], rate: float, given_rate: float | None
) -> CsvRecording:
    """Read a recording from a CSV file, and resample it to a model's rate if it is faster.

    The header contains the channels' names, in any order, among other columns. A name may be
    followed by a unit in brackets, ``acc_x [g]``, which must be that of the channel. Uneven times
    and a few missing samples are interpolated linearly. A faster recording is resampled by a
    polyphase filter, whose low-pass prevents aliasing (Crochiere and Rabiner, Multirate Digital
    Signal Processing, 1983, ch. 4). A slower one lacks frequencies that the model was trained on.

    Args:
        file: The file.
        channels: The channels to read, in the order of the model.
        rate: The model's rate [Hz].
        given_rate: The file's rate [Hz]; None reads times [s] from a column ``time``.

    Raises:
        DataError: The file is invalid, lacks a channel, or is slower than ``rate``.
    """
    table = _table(file)
    signal = np.stack([_column(file, table, one) for one in channels], axis=1)
    times = {column: unit for name in _TIMES for column, unit in _called(name, table).items()}
    if given_rate is not None:
        start, own = 0.0, given_rate
    elif times:
        time = next((one for one, unit in times.items() if unit in _IN_SECONDS), None)
        if time is None:
            raise DataError(f"{file}: no time in s, only {next(iter(times))}; add one, or --rate")
        start, own, signal = _evenly(file, _numbers(file, table, time), signal)
    else:
        raise DataError(f"{file}: no column time [s]; add one, or give --rate")
    if not 0 < own < _FASTEST * rate:
        raise DataError(
            f"{file}: a rate of {own:g} Hz; it must be above 0, and below {_FASTEST * rate:g}"
        )
    if abs(own / rate - 1) < _SAME:
        return CsvRecording(signal.astype(np.float32), start, own, None)
    if own < rate:
        raise DataError(
            f"{file} has {own:g} samples a second, and the model needs {rate:g}: the missing "
            "samples cannot be reconstructed"
        )
    return CsvRecording(_slower(signal, own, rate).astype(np.float32), start, rate, own)


def _table(file: Path) -> Any:
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # index_col=False: otherwise commas at the ends of lines make pandas use the first
            # column as row names, and shift all other names by one column.
            table = pd.read_csv(file, skipinitialspace=True, index_col=False)
    except pd.errors.ParserWarning as error:
        raise DataError(f"{file}: its lines hold more values than its header has names") from error
    except FileNotFoundError as error:
        raise DataError(f"there is no file {file}") from error
    except (OSError, ValueError, UnicodeDecodeError) as error:  # pandas' errors are ValueErrors
        first = str(error).strip().splitlines()[0]
        raise DataError(f"{file} is not a CSV table: {first}") from error
    if table.empty:
        raise DataError(f"{file} holds no samples")
    return table


def _called(name: str, table: Any) -> dict[str, str | None]:
    """Return the columns of that name, ignoring case, with their unit or None: ``acc_x [g]``."""
    pattern = re.compile(rf"\s*{re.escape(name)}\s*(?:[\[(]\s*(.*?)\s*[\])]\s*)?", re.IGNORECASE)
    found = {str(column): pattern.fullmatch(str(column)) for column in table.columns}
    return {column: match[1] for column, match in found.items() if match}


def _column(file: Path, table: Any, channel: Channel) -> NDArray[Any]:
    columns = _called(channel.name, table)
    if not columns:
        there = ", ".join(str(one) for one in table.columns)
        raise DataError(
            f"{file}: no column {channel.name} [{channel.unit}], which the model needs, among the "
            f"columns {there}"
        )
    column = next((one for one, unit in columns.items() if unit in (channel.unit, None)), None)
    if column is None:
        unit = next(iter(columns.values()))
        raise DataError(
            f"{file}: {channel.name} is in {unit}, and the model takes {channel.unit}: convert it"
        )
    return _numbers(file, table, column)


def _numbers(file: Path, table: Any, column: str) -> NDArray[np.float64]:
    import pandas as pd

    numbers: NDArray[np.float64] = pd.to_numeric(table[column], errors="coerce").to_numpy(float)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad) > 0:
        raise DataError(f"{file}, line {bad[0] + 2}: {column} is not a number")
    return numbers


def _evenly(
    file: Path, times: NDArray[np.float64], signal: NDArray[np.float64]
) -> tuple[float, float, NDArray[np.float64]]:
    """Return the time of the first sample [s], the rate [Hz], and the samples at even times."""
    if len(times) < 2:
        raise DataError(f"{file} holds one sample only")
    steps = np.diff(times)
    back = np.flatnonzero(steps <= 0)
    if len(back) > 0:
        raise DataError(f"{file}, line {back[0] + 3}: time does not increase")
    step = float(np.median(steps))
    gaps = np.flatnonzero(steps > _GAP * step)
    if len(gaps) > 0:
        at = gaps[0]
        raise DataError(
            f"{file}, line {at + 3}: no samples for {steps[at]:.3g} s after {times[at]:g} s; split "
            "the file there"
        )
    start, end, count = float(times[0]), float(times[-1]), len(times)
    if np.median(np.abs(steps / step - 1)) < _SAME:  # even times: longer steps are missing samples
        count += int((np.round(steps / step) - 1).clip(min=0).sum())
    if np.abs(steps / step - 1).max() > _SAME:
        even = np.linspace(start, end, count)
        parts = [np.interp(even, times, signal[:, index]) for index in range(signal.shape[1])]
        signal = np.stack(parts, axis=1)
    return start, (count - 1) / (end - start), signal


def _slower(signal: NDArray[np.float64], own: float, rate: float) -> NDArray[np.float64]:
    from scipy.signal import resample_poly  # type: ignore[import-untyped]

    # Exact to less than 10 ms of drift in ten minutes, and the filter is still quick to compute.
    ratio = Fraction(rate / own).limit_denominator(100_000)
    slower: NDArray[np.float64] = resample_poly(
        signal, ratio.numerator, ratio.denominator, axis=0, padtype="line"
    )
    return slower
