"""Channel dropout: simulates failing sensors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from harnest.har.augmentation.base import Layout, check


@dataclass(frozen=True, slots=True)
class ChannelDropout:
    """Replaces whole channels of a window by their mean over the training subjects.

    ``strength`` is the probability of each channel, drawn independently. After normalization the
    channel is zero.
    """

    strength: float = 0.1
    probability: float = 0.5

    def __post_init__(self) -> None:
        """Validate the options."""
        check(self.strength, self.probability)

    def __call__(self, x: Tensor, layout: Layout) -> Tensor:
        """Return windows with some channels replaced."""
        return torch.where(torch.rand_like(x[:, :1]) < self.strength, layout.mean, x)
