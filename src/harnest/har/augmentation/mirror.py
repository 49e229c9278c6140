"""Mirroring: simulates a device worn on the other side of the body."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from harnest.core.errors import ConfigError
from harnest.har.augmentation.base import Layout, check


@dataclass(frozen=True, slots=True)
class Mirror:
    """Inverts the sign of some channels, as if the device were worn on the other arm.

    ``channels`` are indices. A reflection along the x axis inverts x of the accelerometer, and y
    and z of the gyroscope, whose signal is an axial vector: channels 0, 4 and 5 of a smartwatch
    with six channels.
    """

    channels: Sequence[int] = (0, 4, 5)
    probability: float = 0.5

    def __post_init__(self) -> None:
        """Validate the options."""
        check(0, self.probability)

    def __call__(self, x: Tensor, layout: Layout) -> Tensor:
        """Return mirrored windows; raises `ConfigError` if a channel does not exist."""
        if not all(0 <= channel < x.shape[2] for channel in self.channels):
            raise ConfigError(
                f"augmentation.mirror.channels={list(self.channels)}: the data have the channels 0 "
                f"to {x.shape[2] - 1}"
            )
        mirrored = x.clone()
        mirrored[:, :, list(self.channels)] *= -1
        return mirrored
