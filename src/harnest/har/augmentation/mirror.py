"""Mirror: simulates a device worn on the other side of the body."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from harnest.core.errors import ConfigError
from harnest.har.augmentation.base import Layout, check


@dataclass(frozen=True, slots=True)
class Mirror:
    """Turns the sign of some ``channels``, by number: what the other arm would have shown.

    A plane across the axis x turns the accelerometer's x, and the gyroscope's y and z, which say
    about which axis and which way round it turns: 0, 4 and 5 of a smart watch's six channels.
    """

    channels: Sequence[int] = (0, 4, 5)
    probability: float = 0.5

    def __post_init__(self) -> None:
        """Refuse options that cannot be meant."""
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
