"""LSTMs and GRUs of several networks at once, each by the library's own kernels."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class PackedRecurrence(nn.RNNBase):
    """An ``nn.LSTM`` or ``nn.GRU`` under vmap over networks, weights under the same names.

    ``between`` is the dropout between its layers. It begins with states of zero.
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
            raise NotImplementedError(f"{self.mode} with states of its own, or without a batch")
        parts = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if self.bias else ()))
        directions = ("", "_reverse") if self.bidirectional else ("",)
        steps = x.transpose(0, 1) if self.batch_first else x  # as dropout meets them in torch's own
        last = []
        for layer in range(self.num_layers):
            if layer > 0:
                steps = self.between(steps)
            names = (f"{part}_l{layer}{which}" for which in directions for part in parts)
            weights = (getattr(self, name) for name in names)
            steps, *ends = _Each.apply(self._layer, steps, *weights)  # type: ignore[no-untyped-call]
            last.append(ends)
        hidden, *cells = (torch.cat(ends) for ends in zip(*last, strict=True))
        outputs = steps.transpose(0, 1) if self.batch_first else steps
        return outputs, (hidden, *cells) if cells else hidden

    def _layer(self, steps: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        """One layer of one network: outputs, and last states (directions, batch, size)."""
        zeros = steps.new_zeros(1 + self.bidirectional, steps.shape[1], self.hidden_size)
        options = (self.bias, 1, 0.0, self.training, self.bidirectional, False)
        if self.mode == "LSTM":
            return torch.lstm(steps, (zeros, zeros), weights, *options)
        return torch.gru(steps, zeros, weights, *options)


class _Each(torch.autograd.Function):
    """Leaves vmap for a moment, which takes no recurrence, for a loop over networks."""

    @staticmethod
    def forward(layer: Callable[..., tuple[Tensor, ...]], *inputs: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError("packed recurrence outside of a pack")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing to keep: autograd sees what each network does."""

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
    """Call ``function`` with the arguments of each call; on a GPU each has a stream of its own.

    So small kernels of different calls run at the same time, and those of autograd's way back too.
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
