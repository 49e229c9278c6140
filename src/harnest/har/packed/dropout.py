"""Dropout for several networks at once, with a rate and a generator for each."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harnest.har.networks.dropout import bernoulli

Noise = Callable[[Tensor, float, torch.Generator], Tensor]


class PackedDropout(nn.Module):
    """Dropout under vmap over networks, each with its own rate and generator.

    Args:
        rates: One per network.
        generators: One per network.
        whole: Whether it zeroes whole features, as ``nn.Dropout1d`` does.
        of_one: Returns the factors for one network: on a CPU the same that its own dropout would
            draw from torch's generator in the same state.
    """

    def __init__(
        self,
        rates: Sequence[float],
        generators: Sequence[torch.Generator],
        *,
        whole: bool = False,
        of_one: Noise = bernoulli,
    ) -> None:
        super().__init__()
        self.rates = tuple(rates)
        self.generators = generators
        self.whole = whole
        self.of_one = of_one

    def forward(self, x: Tensor) -> Tensor:
        """Zero some of ``x`` and scale the rest, in training."""
        if not self.training or not any(self.rates):
            return x
        dropped: Tensor = _Drop.apply(x, self)  # type: ignore[no-untyped-call]
        return dropped

    def noise(self, x: Tensor) -> Tensor:
        """The factors of ``x``, (k, ...)."""
        rows = x[..., :1] if self.whole else x
        return torch.stack(
            [
                self.of_one(row, rate, generator) if rate > 0 else torch.ones_like(row)
                for row, rate, generator in zip(rows, self.rates, self.generators, strict=True)
            ]
        )


class _Drop(torch.autograd.Function):
    """Leaves vmap, which does not support a generator per network."""

    @staticmethod
    def forward(x: Tensor, dropout: PackedDropout) -> Tensor:
        raise NotImplementedError("packed dropout outside of a pack")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing to keep: autograd sees the product itself."""

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, None], x: Tensor, dropout: PackedDropout
    ) -> tuple[Tensor, int]:
        dim = in_dims[0]
        x = x.movedim(dim, 0) if dim is not None else x.expand(info.batch_size, *x.shape)
        return x * dropout.noise(x), 0
