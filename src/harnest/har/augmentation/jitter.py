"""Jitter: simulates sensor noise."""

from dataclasses import dataclass

import torch
from torch import Tensor

from harnest.har.augmentation.base import Layout, check


@dataclass(frozen=True, slots=True)
class Jitter:
    """Adds white noise to every value.

    ``strength`` is its standard deviation relative to that of the channel. Um et al., "Data
    augmentation of wearable sensor data for Parkinson's disease monitoring using convolutional
    neural networks", 2017.
    """

    strength: float = 0.05
    probability: float = 0.5

    def __post_init__(self) -> None:
        """Validate the options."""
        check(self.strength, self.probability)

    def __call__(self, x: Tensor, layout: Layout) -> Tensor:
        """Return noisy windows."""
        return x + self.strength * layout.std * torch.randn_like(x)
