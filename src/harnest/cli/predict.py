"""Entry: from a recorded run, or a registered model, to the activities in a recording."""

import argparse
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harnest.cli.app import add_store_option, add_version_option, errors_as_lines

if TYPE_CHECKING:
    import pandas as pd


def main() -> None:
    """``harnest-predict``."""
    parser = argparse.ArgumentParser(
        prog="harnest-predict",
        description="Tell the activities in a recording, window by window, with the model of a "
        "run or a registered one. The recording is a CSV file with a header: the channels that "
        "the model was trained on, and their time in seconds.",
        epilog="examples: harnest-predict multirun/quick/7 walk.csv | "
        "harnest-predict harnest-watch walk.csv --rate 50 -o activities.csv --plot walk.png",
    )
    parser.add_argument(
        "model",
        help="a run's directory or MLflow id, or a registered model: NAME, NAME@ALIAS or "
        "NAME/VERSION",
    )
    parser.add_argument("file", type=Path, help="the recording")
    parser.add_argument(
        "--rate",
        type=float,
        metavar="HZ",
        help="samples per second, for a recording without a column of times",
    )
    parser.add_argument(
        "--step",
        type=float,
        metavar="S",
        help="seconds from one window's start to the next (default: half a window)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="where the table goes (default: stdout)"
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="draw the signal and what it was taken for"
    )
    add_store_option(parser)
    parser.add_argument("-v", action="store_true", help="show the traceback of an error")
    add_version_option(parser)
    arguments = parser.parse_args()
    with errors_as_lines():
        predict(arguments)


def predict(arguments: argparse.Namespace) -> None:
    """Predict as the command line says; raises `HarnestError` for what the user can mend."""
    from harnest.core.silence_libraries import silence_libraries
    from harnest.har.data.csv_recording import read_csv
    from harnest.har.data.recording import Channel
    from harnest.tracking.registry.serving import load_model

    silence_libraries()
    _check_place("-o", arguments.output)
    _check_place("--plot", arguments.plot)
    _check_picture(arguments.plot)
    model = load_model(arguments.model, arguments.tracking_uri)
    facts = _facts(arguments.model, model)
    channels = [Channel(**channel) for channel in facts["channels"]]
    recording = read_csv(arguments.file, channels, facts["rate"], arguments.rate)
    if recording.resampled_from is not None:
        told = f"resampled from {recording.resampled_from:g} to {facts['rate']:g} Hz"
        print(f"{arguments.file}: {told}", file=sys.stderr)
    _check_units(arguments.file, recording.signal, facts)
    table = _table(model, facts, recording, _step(arguments, facts, recording.rate), arguments.file)
    if arguments.plot is not None:
        from harnest.har.timeline import timeline

        timeline(recording, channels, table, facts["activities"], arguments.plot)
    text = table.to_csv(index=False, float_format="%.4f")
    if arguments.output is not None:
        arguments.output.write_text(text)
    else:
        print(text, end="")


def _check_place(option: str, file: Path | None) -> None:
    """Raise `ConfigError` where ``file`` could not be written once the work is done."""
    from harnest.core.errors import ConfigError

    if file is None:
        return
    if not file.parent.is_dir():
        why = f"there is no folder {file.parent}; make it, or choose another place"
    elif file.is_dir():
        why = "it is a folder; choose another place"
    elif not os.access(file if file.exists() else file.parent, os.W_OK):
        why = "you may not write there; choose another place"
    else:
        return
    raise ConfigError(f"{option} {file}: {why}")


def _check_picture(file: Path | None) -> None:
    """Raise `ConfigError` where ``file`` ends like no picture; without an end it is a PNG."""
    if file is None or not file.suffix:
        return
    from matplotlib.figure import Figure

    from harnest.core.errors import ConfigError

    if file.suffix[1:].lower() not in Figure().canvas.get_supported_filetypes():
        raise ConfigError(f"--plot {file}: no picture can be {file.suffix}; choose .png or .pdf")


def _facts(name: str, model: Any) -> dict[str, Any]:
    from harnest.core.errors import TrackingError

    facts: dict[str, Any] = model.metadata.metadata or {}
    if not {"activities", "channels", "rate", "steps"} <= set(facts):
        raise TrackingError(f"{name} is no model of harnest's: it does not say what it takes")
    return facts


def _step(arguments: argparse.Namespace, facts: dict[str, Any], rate: float) -> int:
    from harnest.core.errors import ConfigError

    if arguments.step is None:
        return max(1, int(facts["steps"]) // 2)
    samples = float(arguments.step) * rate
    if not math.isfinite(samples) or round(samples) < 1:
        raise ConfigError(
            f"--step {arguments.step:g}: give a number of seconds, at least {1 / rate:g}"
        )
    return round(samples)


def _check_units(file: Path, signal: Any, facts: dict[str, Any]) -> None:
    """Tell of a channel that is far from anything that the model was trained on."""
    import numpy as np

    mean, std = np.array(facts["mean"]), np.array(facts["std"])
    spread = np.sqrt(np.square((signal - mean) / std).mean(axis=0))
    if spread.max() > 5:  # a g is 9.8 m/s², a radian 57 degrees
        worst = facts["channels"][int(spread.argmax())]
        print(
            f"{file}: {worst['name']} is {spread.max():.0f} times as far from the mean as in "
            f"training: is it in {worst['unit']}?",
            file=sys.stderr,
        )


def _table(
    model: Any, facts: dict[str, Any], recording: Any, step: int, file: Path
) -> "pd.DataFrame":
    """One line for each window, the last one flush with the end: when, what, how probable."""
    import numpy as np
    from numpy.lib.stride_tricks import sliding_window_view

    from harnest.core.errors import DataError

    steps, rate, signal = int(facts["steps"]), recording.rate, recording.signal
    if len(signal) < steps:
        raise DataError(
            f"{file} has {len(signal) / rate:g} s; the model looks at {steps / rate:g} s at once"
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
