"""Dropout of several networks at once, each with its own rate and generator."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harnest.har.networks.dropout import bernoulli

Noise = Callable[[Tensor, float, torch.Generator], Tensor]


class PackedDropout(nn.Module):
    """Dropout under vmap over networks.

    Args:
        rates: The rate of each network.
        generators: The random number generator of each network.
        whole: Whether to drop whole channels, as ``nn.Dropout1d`` does, or single values.
        of_one: Returns the mask of one network. On the CPU it equals the mask that the network's
            dropout would draw alone from torch's default generator in the same state.
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
        """Return the dropout masks of all k networks for ``x``, (k, ...)."""
        rows = x[..., :1] if self.whole else x
        return torch.stack(
            [
                self.of_one(row, rate, generator) if rate > 0 else torch.ones_like(row)
                for row, rate, generator in zip(rows, self.rates, self.generators, strict=True)
            ]
        )


class _Drop(torch.autograd.Function):
    """Custom vmap rule, since vmap does not support one generator per network."""

    @staticmethod
    def forward(x: Tensor, dropout: PackedDropout) -> Tensor:
        raise NotImplementedError("packed dropout outside of a pack")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Save nothing: autograd records the product itself."""

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, None], x: Tensor, dropout: PackedDropout
    ) -> tuple[Tensor, int]:
        dim = in_dims[0]
        x = x.movedim(dim, 0) if dim is not None else x.expand(info.batch_size, *x.shape)
        return x * dropout.noise(x), 0
