"""Dropout for several networks at once, with a rate and a generator for each."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harnest.har.networks.dropout import bernoulli

Noise = Callable[[Tensor, float, torch.Generator], Tensor]


class PackedDropout(nn.Module):
    """Under vmap over networks: each has one of ``rates`` and draws from one of ``generators``.

    With ``whole`` it zeroes whole features, as ``nn.Dropout1d`` does, else single values.
    ``of_one`` says what to multiply the values of one by: on the CPU what its dropout would draw
    alone from torch's own generator in the same state, as `bernoulli` does for ``nn.Dropout``.
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
        """What to multiply ``x``, (k, ...), by."""
        rows = x[..., :1] if self.whole else x
        return torch.stack(
            [
                self.of_one(row, rate, generator) if rate > 0 else torch.ones_like(row)
                for row, rate, generator in zip(rows, self.rates, self.generators, strict=True)
            ]
        )


class _Drop(torch.autograd.Function):
    """Leaves vmap for a moment: a generator of its own for each network is no notion of vmap's."""

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
