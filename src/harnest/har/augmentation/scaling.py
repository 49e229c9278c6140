"""Scaling: multiplies each channel by a random factor."""

from dataclasses import dataclass

import torch
from torch import Tensor

from harnest.har.augmentation.base import Layout, check


@dataclass(frozen=True, slots=True)
class Scaling:
    """Multiplies each channel of a window by its own factor.

    Factors are normal around 1 with the standard deviation ``strength``. Um et al. 2017.
    """

    strength: float = 0.1
    probability: float = 0.5

    def __post_init__(self) -> None:
        """Refuse options that cannot be meant."""
        check(self.strength, self.probability)

    def __call__(self, x: Tensor, layout: Layout) -> Tensor:
        """Return windows of another size."""
        return x * (1 + self.strength * torch.randn_like(x[:, :1]))
