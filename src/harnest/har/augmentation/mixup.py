"""Mixup: interpolation between windows and their targets."""

from dataclasses import dataclass

import torch
from torch import Tensor

from harnest.core.errors import ConfigError
from harnest.har.augmentation.base import check


@dataclass(frozen=True, slots=True)
class Mixup:
    """Mixes each window and its target with another one of the batch.

    The share of the window is drawn from Beta(``strength``, ``strength``) and is at least one half:
    a large strength mixes equal shares, a small one leaves most windows nearly unchanged. Zhang et
    al., "mixup: Beyond Empirical Risk Minimization", 2018.
    """

    strength: float = 0.2
    probability: float = 0.5

    def __post_init__(self) -> None:
        """Validate the options."""
        check(self.strength, self.probability)
        if self.strength == 0:
            raise ConfigError("strength=0 cannot be used: it must be above 0")

    def __call__(self, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Mix windows, (batch, time, channels), and their class probabilities, (batch, classes)."""
        share = torch.distributions.Beta(self.strength, self.strength).sample((len(x), 1)).to(x)
        chosen = torch.rand_like(share) < self.probability
        share = torch.where(chosen, torch.maximum(share, 1 - share), 1.0)
        other = torch.randperm(len(x), device=x.device)
        return (
            x[other].lerp(x, share[:, :, None]),
            targets[other].lerp(targets, share),
        )
