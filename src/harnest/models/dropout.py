"""Dropout whose masks take a processor a quarter of the time that torch's take."""

import torch
from torch import Tensor, nn

_VALUES = 2**16  # of the 16 random bits that decide on a number


class Dropout(nn.Dropout):
    """``nn.Dropout`` that draws 16 bits for a number, where torch draws 53 on a processor.

    Its rate is met to 1/65536. A GPU draws as torch does.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Zero some of ``input`` and scale the rest, in training."""
        if not self.training or input.device.type != "cpu" or self.p in (0, 1):
            return super().forward(input)
        return input * noise(input, self.p)


def noise(x: Tensor, rate: float, generator: torch.Generator | None = None) -> Tensor:
    """What `Dropout` multiplies ``x`` by: 0, or what makes up for the zeros.

    ``rate`` is below 1. Numbers are drawn in the order of ``x``'s shape, from ``generator`` or
    from torch's own.
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
    """What ``nn.Dropout`` multiplies ``x`` by, where that is contiguous; see `noise`."""
    return x.new_empty(x.shape).bernoulli_(1 - rate, generator=generator).div_(1 - rate)
