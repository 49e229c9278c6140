"""Time warping: simulates movements of varying speed within a window."""

from dataclasses import dataclass

import torch
from torch import Tensor

from harnest.har.augmentation.base import Layout, check
from harnest.har.augmentation.curves import smooth_curves

SLOWEST = 0.1
"""Minimum pace: no part is stretched more than tenfold before rescaling to the window."""


@dataclass(frozen=True, slots=True)
class TimeWarp:
    """Resamples a window at a smoothly varying pace, the same for all channels.

    ``strength`` is the standard deviation of the pace's knots around 1. The first and the last step
    keep their positions. Values between steps are interpolated linearly. Um et al. 2017.
    """

    strength: float = 0.2
    probability: float = 0.5

    def __post_init__(self) -> None:
        """Validate the options."""
        check(self.strength, self.probability)

    def __call__(self, x: Tensor, layout: Layout) -> Tensor:
        """Return windows of varying pace."""
        last = x.shape[1] - 1
        pace = (1 + self.strength * smooth_curves(x, 1)[:, 1:]).clamp(min=SLOWEST)
        # A cumulative sum: torch.cumsum is not deterministic on a GPU.
        elapsed = torch.ones(last, last, device=x.device, dtype=x.dtype).tril() @ pace
        place = x.new_zeros(x.shape[0], x.shape[1], 1)
        place[:, 1:] = last * elapsed / elapsed[:, -1:]
        before = place.long().clamp(max=max(0, last - 1))
        after = (before + 1).clamp(max=last)
        values = [x.gather(1, step.expand_as(x)) for step in (before, after)]
        return values[0].lerp(values[1], (place - before).expand_as(x))
