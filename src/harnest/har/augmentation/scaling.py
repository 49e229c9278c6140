"""Scaling: simulates sensors of other sensitivity, and movements of more or less force."""

from dataclasses import dataclass

import torch
from torch import Tensor

from harnest.har.augmentation.base import Layout, check


@dataclass(frozen=True, slots=True)
class Scaling:
    """Multiplies each channel of a window by a random factor.

    Factors are normal around 1 with the standard deviation ``strength``. Um et al. 2017.
    """

    strength: float = 0.1
    probability: float = 0.5

    def __post_init__(self) -> None:
        """Validate the options."""
        check(self.strength, self.probability)

    def __call__(self, x: Tensor, layout: Layout) -> Tensor:
        """Return scaled windows."""
        return x * (1 + self.strength * torch.randn_like(x[:, :1]))
