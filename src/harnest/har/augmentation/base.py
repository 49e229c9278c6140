"""The protocol of augmentations, and what they know about the channels."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from harnest.core.errors import ConfigError

Triad = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """The channels of a window: ``mean`` and ``std``, (channels,), are the training subjects'.

    ``triads`` are the three axes of each sensor, as indices of channels.
    """

    mean: Tensor
    std: Tensor
    triads: tuple[Triad, ...]


class Augmentation(Protocol):
    """Changes every window of a batch; it is applied to a window with ``probability``.

    Windows are raw, (batch, time, channels), on whichever device they are trained on, and keep
    shape and dtype. All chance comes from torch's own generator, which each epoch seeds.
    """

    @property
    def probability(self) -> float:
        """Share of the windows that are changed."""

    def __call__(self, x: Tensor, layout: Layout) -> Tensor:
        """Return a changed copy of the windows."""


def check(strength: float, probability: float) -> None:
    """Raise `ConfigError` for a negative strength, or a probability outside [0, 1]."""
    if strength < 0:
        raise ConfigError(f"strength={strength} cannot be used: it must be at least 0")
    if not 0 <= probability <= 1:
        raise ConfigError(f"probability={probability} cannot be used: it must be from 0 to 1")


def triads(channels: Iterable[tuple[str, str]]) -> tuple[Triad, ...]:
    """Which channels, given by name and unit, are the three axes of one sensor.

    They are called alike but for an x, y or z at the end, as ``acc_x`` is, and have one unit.
    """
    axes: dict[tuple[str, str], dict[str, int]] = {}
    for index, (name, unit) in enumerate(channels):
        if axis := re.fullmatch(r"(.*?)_?([xyz])", name, re.IGNORECASE):
            axes.setdefault((axis[1], unit), {})[axis[2].lower()] = index
    return tuple((a["x"], a["y"], a["z"]) for a in axes.values() if len(a) == 3)
