"""Permutation: reorders the parts of a window."""

from dataclasses import dataclass

import torch
from torch import Tensor

from harnest.core.errors import ConfigError
from harnest.har.augmentation.base import Layout, check


@dataclass(frozen=True, slots=True)
class Permutation:
    """Cuts a window into ``strength`` pieces at random steps and shuffles them.

    All channels of a window are permuted alike. Um et al. 2017.
    """

    strength: int = 4
    probability: float = 0.5

    def __post_init__(self) -> None:
        """Validate the options."""
        check(self.strength, self.probability)
        if self.strength < 1:
            raise ConfigError(
                f"strength={self.strength} cannot be used: it must be 1 piece or more"
            )

    def __call__(self, x: Tensor, layout: Layout) -> Tensor:
        """Return permuted windows."""
        batch, time, _ = x.shape
        cuts = torch.rand(batch, self.strength - 1, device=x.device).sort(dim=1).values * time
        steps = torch.arange(time, device=x.device).expand(batch, time).contiguous().to(cuts)
        piece = torch.searchsorted(cuts, steps, right=True)
        place = torch.rand(batch, self.strength, device=x.device).argsort(dim=1)
        order = place.gather(1, piece).argsort(dim=1, stable=True)
        return x.gather(1, order[:, :, None].expand_as(x))
