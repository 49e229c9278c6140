"""LSTMs and GRUs of several networks at once, computed by torch's kernels."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from harnest.har.networks.recurrence import by_layers, one_layer


class PackedRecurrence(nn.RNNBase):
    """An ``nn.LSTM`` or ``nn.GRU`` under vmap over networks, with the same parameter names.

    ``like`` is the recurrence to replace, ``between`` the dropout between its layers. The initial
    states are zero.
    """

    def __init__(self, like: nn.RNNBase, between: nn.Module) -> None:
        super().__init__(
            like.mode,
            like.input_size,
            like.hidden_size,
            like.num_layers,
            bias=like.bias,
            batch_first=like.batch_first,
            bidirectional=like.bidirectional,
        )
        self.between = between

    def forward(self, x: Tensor, states: None = None) -> tuple[Tensor, Any]:
        """Map (batch, time, features), or (time, batch, features), to outputs and last states."""
        if states is not None or x.ndim != 3:
            raise NotImplementedError(f"{self.mode} with initial states, or unbatched input")
        layer = partial(_Each.apply, partial(one_layer, self))
        return by_layers(self, x, between=self.between, layer=layer)


class _Each(torch.autograd.Function):
    """Custom vmap rule that loops over networks, since vmap does not support recurrences."""

    @staticmethod
    def forward(layer: Callable[..., tuple[Tensor, ...]], *inputs: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError("packed recurrence outside of a pack")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Save nothing: autograd records the operations of each network."""

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        layer: Callable[..., tuple[Tensor, ...]],
        *inputs: Tensor,
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        count = info.batch_size
        of_each = zip(
            *(
                [x] * count if dim is None else x.unbind(dim)
                for x, dim in zip(inputs, in_dims[1:], strict=True)
            ),
            strict=True,
        )
        results = zip(*side_by_side(layer, list(of_each)), strict=True)
        stacked = tuple(torch.stack(parts) for parts in results)
        return stacked, (0,) * len(stacked)


def side_by_side(
    function: Callable[..., tuple[Tensor, ...]], calls: Sequence[tuple[Tensor, ...]]
) -> list[tuple[Tensor, ...]]:
    """Call ``function`` with the arguments of each call; on a GPU each call has its own stream.

    Small kernels of different calls then run concurrently, also in the backward pass.
    """
    if not calls[0][0].is_cuda:
        return [function(*arguments) for arguments in calls]
    here = torch.cuda.current_stream()
    results = []
    for arguments in calls:
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            results.append((aside, function(*arguments)))
        for tensor in arguments:
            tensor.record_stream(aside)
    for aside, outputs in results:
        here.wait_stream(aside)
        for tensor in outputs:
            tensor.record_stream(here)
    return [outputs for _, outputs in results]
