"""Prediction of the activities in a recording by a trained model."""

import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from harnest.core.errors import ConfigError, DataError, TrackingError
from harnest.core.silence_libraries import silence_libraries
from harnest.har.data.csv_recording import read_csv
from harnest.har.data.recording import Channel
from harnest.tracking.registry.serving import load_model

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PredictionRequest:
    """A request to predict the activities in a recording.

    ``rate`` [Hz] is the sampling rate of a recording without a time column. ``step`` [s] is the
    distance between the starts of consecutive windows; None means half a window. ``output`` is the
    file for the table; None means standard output. ``plot`` is the file for the plot; None means
    no plot.
    """

    model: str
    file: Path
    tracking_uri: str
    rate: float | None = None
    step: float | None = None
    output: Path | None = None
    plot: Path | None = None


def predict_recording(request: PredictionRequest) -> None:
    """Write the requested table and plot; raises `HarnestError` for invalid input."""
    silence_libraries()
    _check_place("-o", request.output)
    _check_place("--plot", request.plot)
    _check_picture(request.plot)
    model = load_model(request.model, request.tracking_uri)
    facts = _facts(request.model, model)
    channels = [Channel(**channel) for channel in facts["channels"]]
    recording = read_csv(request.file, channels, facts["rate"], request.rate)
    if recording.resampled_from is not None:
        told = f"resampled from {recording.resampled_from:g} to {facts['rate']:g} Hz"
        print(f"{request.file}: {told}", file=sys.stderr)
    _check_units(request.file, recording.signal, facts)
    table = _table(model, facts, recording, _step(request, facts, recording.rate), request.file)
    if request.plot is not None:
        from harnest.har.timeline import timeline

        timeline(recording, channels, table, facts["activities"], request.plot)
    text = table.to_csv(index=False, float_format="%.4f")
    if request.output is not None:
        request.output.write_text(text)
    else:
        print(text, end="")


def _check_place(option: str, file: Path | None) -> None:
    """Raise `ConfigError` if ``file`` cannot be written, before any work is done."""
    if file is None:
        return
    if not file.parent.is_dir():
        why = f"there is no folder {file.parent}; make it, or choose another place"
    elif file.is_dir():
        why = "it is a folder; choose another place"
    elif not os.access(file if file.exists() else file.parent, os.W_OK):
        why = "no permission to write there; choose another place"
    else:
        return
    raise ConfigError(f"{option} {file}: {why}")


def _check_picture(file: Path | None) -> None:
    """Raise `ConfigError` if the suffix of ``file`` is no image format; without one it is a PNG."""
    if file is None or not file.suffix:
        return
    from matplotlib.figure import Figure

    if file.suffix[1:].lower() not in Figure().canvas.get_supported_filetypes():
        raise ConfigError(
            f"--plot {file}: unsupported image format {file.suffix}; choose .png or .pdf"
        )


def _facts(name: str, model: Any) -> dict[str, Any]:

    facts: dict[str, Any] = model.metadata.metadata or {}
    if not {"activities", "channels", "rate", "steps"} <= set(facts):
        raise TrackingError(
            f"{name} is not a HAR model of harnest: its metadata do not describe its input"
        )
    return facts


def _step(request: PredictionRequest, facts: dict[str, Any], rate: float) -> int:

    if request.step is None:
        return max(1, int(facts["steps"]) // 2)
    samples = float(request.step) * rate
    if not math.isfinite(samples) or round(samples) < 1:
        raise ConfigError(
            f"--step {request.step:g}: give a number of seconds, at least {1 / rate:g}"
        )
    return round(samples)


def _check_units(file: Path, signal: Any, facts: dict[str, Any]) -> None:
    """Print a warning if a channel is far outside the range of the training data."""
    mean, std = np.array(facts["mean"]), np.array(facts["std"])
    spread = np.sqrt(np.square((signal - mean) / std).mean(axis=0))
    if spread.max() > 5:  # a wrong unit differs by more: 1 g is 9.8 m/s², 1 radian 57 degrees
        worst = facts["channels"][int(spread.argmax())]
        print(
            f"{file}: {worst['name']} is {spread.max():.0f} times as far from the mean as in "
            f"training: is it in {worst['unit']}?",
            file=sys.stderr,
        )


def _table(
    model: Any, facts: dict[str, Any], recording: Any, step: int, file: Path
) -> "pd.DataFrame":
    """Return one row per window; the last window ends with the recording."""

    steps, rate, signal = int(facts["steps"]), recording.rate, recording.signal
    if len(signal) < steps:
        raise DataError(
            f"{file} is {len(signal) / rate:g} s long, shorter than the model's window of "
            f"{steps / rate:g} s"
        )
    starts = np.unique([*range(0, len(signal) - steps + 1, step), len(signal) - steps])
    windows = sliding_window_view(signal, steps, axis=0).transpose(0, 2, 1)[starts]
    probabilities = model.predict(np.ascontiguousarray(windows))
    begins = recording.start + starts / rate
    table = probabilities.copy()
    table.insert(0, "start", begins)
    table.insert(1, "end", begins + steps / rate)
    table.insert(2, "activity", probabilities.idxmax(axis=1))
    table.insert(3, "probability", probabilities.max(axis=1))
    return table
