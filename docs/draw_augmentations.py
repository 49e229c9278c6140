"""Draws what each augmentation does to a window of the smart-watch recordings.

    python docs/draw_augmentations.py

writes docs/images/augmentation-NAME.png: the window as recorded, and the same one changed with the
strength that the title names, which for some is more than the default, to be seen at all.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from torch import Tensor

from harnest.har.augmentation.base import Layout, triads
from harnest.har.augmentation.channel_dropout import ChannelDropout
from harnest.har.augmentation.jitter import Jitter
from harnest.har.augmentation.magnitude_warp import MagnitudeWarp
from harnest.har.augmentation.mirror import Mirror
from harnest.har.augmentation.permutation import Permutation
from harnest.har.augmentation.rotation import Rotation
from harnest.har.augmentation.scaling import Scaling
from harnest.har.augmentation.time_warp import TimeWarp
from harnest.har.classifier import channel_statistics
from harnest.har.data.prepare import Windows, prepare
from harnest.har.data.sources.watch import Watch

IMAGES = Path(__file__).parent / "images"
SHOWN = {
    "jitter": (Jitter(0.1), "noise of 0.1 standard deviations"),
    "scaling": (Scaling(0.2), "factors of deviation 0.2"),
    "rotation": (Rotation(60), "up to 60 degrees"),
    "time_warp": (TimeWarp(0.4), "pace of deviation 0.4"),
    "magnitude_warp": (MagnitudeWarp(0.3), "curves of deviation 0.3"),
    "permutation": (Permutation(4), "4 pieces"),
    "mirror": (Mirror(), "the other arm"),
    "channel_dropout": (ChannelDropout(0.3), "3 channels of 10 missing"),
}
SEED = 20
WINDOW, OTHER = 0, 100
"""One of a pendulum exercise, and one of another exercise to mix it with."""
AXES = ("x", "y", "z")


def main() -> None:
    """Draw all of them."""
    windows = prepare(Watch(), window=4.0, step=2.0)
    signals = torch.from_numpy(windows.signals)
    layout = Layout(
        *channel_statistics(signals),
        triads((channel.name, channel.unit) for channel in windows.channels),
    )
    other = int((torch.from_numpy(windows.labels) == 6).nonzero()[OTHER])
    window = signals[WINDOW]
    for name, (augmentation, title) in SHOWN.items():
        torch.manual_seed(SEED)
        changed = augmentation(window[None], layout)[0]
        draw(name, windows, {"as recorded": window, f"{name}: {title}": changed})
    share = 0.7
    mixed = share * window + (1 - share) * signals[other]
    names = [windows.activities[windows.labels[index]] for index in (WINDOW, other)]
    draw(
        "mixup",
        windows,
        {
            names[0]: window,
            names[1]: signals[other],
            f"mixup: {share:.0%} {names[0]}, {1 - share:.0%} {names[1]}": mixed,
        },
    )


def draw(name: str, windows: Windows, columns: dict[str, Tensor]) -> None:
    """One column for each window, (time, channels): acceleration above, angular rate below."""
    size = (4.2 * len(columns), 4)
    share = {"sharex": True, "sharey": "row"}
    figure, grid = plt.subplots(2, len(columns), figsize=size, layout="constrained", **share)
    for column, (title, window) in enumerate(columns.items()):
        grid[0][column].set_title(title, fontsize=10)
        for row, first in enumerate((0, 3)):
            trace(grid[row][column], window[:, first : first + 3], windows.rate)
        grid[1][column].set_xlabel("time [s]")
    grid[0][0].set_ylabel(f"acceleration [{windows.channels[0].unit}]")
    grid[1][0].set_ylabel(f"angular rate [{windows.channels[3].unit}]")
    figure.legend(grid[0][0].get_lines(), AXES, loc="outside lower right", ncols=3, fontsize=8)
    figure.savefig(IMAGES / f"augmentation-{name}.png", dpi=80)
    plt.close(figure)


def trace(axes: Axes, signal: Tensor, rate: float) -> None:
    """Three axes over time."""
    axes.plot(torch.arange(len(signal)) / rate, signal, linewidth=1)
    axes.grid(alpha=0.3)


if __name__ == "__main__":
    main()
