"""Magnitude warping: simulates movements of varying force within a window."""

from dataclasses import dataclass

from torch import Tensor

from harnest.har.augmentation.base import Layout, check
from harnest.har.augmentation.curves import smooth_curves


@dataclass(frozen=True, slots=True)
class MagnitudeWarp:
    """Multiplies each channel by a smooth random curve around 1.

    ``strength`` is the standard deviation of the curve's knots. Um et al. 2017.
    """

    strength: float = 0.2
    probability: float = 0.5

    def __post_init__(self) -> None:
        """Validate the options."""
        check(self.strength, self.probability)

    def __call__(self, x: Tensor, layout: Layout) -> Tensor:
        """Return windows of varying magnitude."""
        return x * (1 + self.strength * smooth_curves(x, x.shape[2]))
