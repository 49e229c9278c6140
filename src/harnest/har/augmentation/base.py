"""Interface of augmentations, and the channel layout that they receive."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from harnest.core.errors import ConfigError

Triad = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """The channels of a window.

    ``mean`` and ``std``, (channels,), are statistics of the training subjects. ``triads`` are the
    channel indices of the three axes of each sensor.
    """

    mean: Tensor
    std: Tensor
    triads: tuple[Triad, ...]


class Augmentation(Protocol):
    """Changes every window of a batch; the caller applies it to a window with ``probability``.

    Windows are in raw physical units, (batch, time, channels), on the training device. Shape and
    dtype are preserved. Random numbers come from torch's default generator, which is seeded in each
    epoch.
    """

    @property
    def probability(self) -> float:
        """Probability that a window is changed."""

    def __call__(self, x: Tensor, layout: Layout) -> Tensor:
        """Return a changed copy of the windows."""


def check(strength: float, probability: float) -> None:
    """Raise `ConfigError` for a strength below 0, or a probability outside 0 to 1."""
    if strength < 0:
        raise ConfigError(f"strength={strength} cannot be used: it must be at least 0")
    if not 0 <= probability <= 1:
        raise ConfigError(f"probability={probability} cannot be used: it must be from 0 to 1")


def triads(channels: Iterable[tuple[str, str]]) -> tuple[Triad, ...]:
    """Return the channel indices of the axes x, y and z of each three-axis sensor.

    ``channels`` are names and units. Channels belong to one sensor if they have the same unit, and
    names that differ only in a final x, y or z, such as ``acc_x``.
    """
    axes: dict[tuple[str, str], dict[str, int]] = {}
    for index, (name, unit) in enumerate(channels):
        if axis := re.fullmatch(r"(.*?)_?([xyz])", name, re.IGNORECASE):
            axes.setdefault((axis[1], unit), {})[axis[2].lower()] = index
    return tuple((a["x"], a["y"], a["z"]) for a in axes.values() if len(a) == 3)
