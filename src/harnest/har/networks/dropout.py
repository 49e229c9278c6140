"""Dropout masks: torch's, and faster ones for the CPU."""

import torch
from torch import Tensor

_VALUES = 2**16  # of the 16 random bits that decide on a number


def noise(x: Tensor, rate: float, generator: torch.Generator | None = None) -> Tensor:
    """The factors of dropout: 0, or 1 / (1 - ``rate``).

    On a CPU each factor uses 16 random bits, where torch uses 53, so the rate is met to 1/65536.
    They come from ``generator`` or torch's default one, in the order of ``x``'s shape. ``rate`` is
    below 1.
    """
    if x.device.type != "cpu":
        return bernoulli(x, rate, generator)
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64)
    # From the least integer on: without it, the first bit of each word would be 0.
    words.random_(torch.iinfo(torch.int64).min, None, generator=generator)
    chance = words.view(torch.int16)[: x.numel()].view(x.shape)
    dropped = min(round(rate * _VALUES), _VALUES - 1)
    kept = chance >= dropped - _VALUES // 2
    return kept.to(x.dtype).mul_(1 / (1 - rate))


def bernoulli(x: Tensor, rate: float, generator: torch.Generator | None = None) -> Tensor:
    """The same as ``nn.Dropout`` draws it, where ``x`` is contiguous."""
    return x.new_empty(x.shape).bernoulli_(1 - rate, generator=generator).div_(1 - rate)
