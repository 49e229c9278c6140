"""Plot of a recording and its predicted activities over time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harnest.har.data.csv_recording import CsvRecording
from harnest.har.data.recording import Channel


def timeline(
    recording: CsvRecording,
    channels: Sequence[Channel],
    table: Any,
    activities: Sequence[str],
    file: Path,
) -> None:
    """Plot the signal, one panel per unit, above the probability of each activity.

    Args:
        recording: The recording.
        channels: The channels of its signal.
        table: One row per window: start and end [s], and the probability of each activity.
        activities: Names of the activities.
        file: The image file to write.
    """
    from matplotlib.figure import Figure

    units = list(dict.fromkeys(channel.unit for channel in channels))
    times = recording.start + np.arange(len(recording.signal)) / recording.rate
    figure = Figure(figsize=(11, 1.5 + 1.9 * len(units) + 0.3 * len(activities)))
    heights = [*[2.0] * len(units), 0.35 * len(activities)]
    figure.set_layout_engine("constrained")
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)
    for unit, axes in zip(units, panels[:, 0], strict=False):
        for index, channel in enumerate(channels):
            if channel.unit == unit:
                axes.plot(times, recording.signal[:, index], linewidth=0.7, label=channel.name)
        axes.set_ylabel(unit)
        axes.legend(loc="upper right", fontsize="small", ncols=3)
    axes = panels[-1, 0]
    # Windows overlap, so each is drawn from halfway to its predecessor to halfway to the next.
    middles = ((table["start"] + table["end"]) / 2).to_numpy()
    between = (middles[1:] + middles[:-1]) / 2
    edges = [table["start"].iloc[0], *between, table["end"].iloc[-1]]
    shares = table[list(activities)].to_numpy().T
    mesh = axes.pcolormesh(
        edges, np.arange(len(activities) + 1), shares, cmap="Blues", vmin=0, vmax=1
    )
    axes.set_yticks(np.arange(len(activities)) + 0.5, activities)
    axes.invert_yaxis()
    axes.set_xlabel("time [s]")
    figure.colorbar(mesh, ax=axes, label="probability")
    figure.savefig(file, dpi=100)
