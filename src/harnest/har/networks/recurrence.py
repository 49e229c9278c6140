"""LSTMs and GRUs computed layer by layer, with a custom function between the layers."""

from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from harnest.har.networks.dropout import noise

Layer = Callable[..., tuple[Tensor, ...]]


class _Stacked(nn.RNNBase):
    """A torch recurrence with `noise` as its dropout on the CPU.

    Computing layer by layer is no slower on the CPU. A GPU has one kernel for all layers, which is
    used unchanged.
    """

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Map (batch, time, features), or (time, batch, features), as in torch."""
        drops = self.training and self.num_layers > 1 and 0 < self.dropout < 1
        if not drops or hx is not None or self.proj_size or not _is_batch_on_cpu(input):
            return super().forward(input, hx)
        return by_layers(
            self,
            input,
            between=lambda steps: steps * noise(steps, self.dropout),
            layer=partial(one_layer, self),
        )


def _is_batch_on_cpu(input: Any) -> bool:
    return isinstance(input, Tensor) and input.ndim == 3 and input.device.type == "cpu"


class StackedLSTM(_Stacked, nn.LSTM):
    """``nn.LSTM`` with faster dropout on the CPU."""


class StackedGRU(_Stacked, nn.GRU):
    """``nn.GRU`` with faster dropout on the CPU."""


def by_layers(
    recurrence: nn.RNNBase, x: Tensor, *, between: Callable[[Tensor], Tensor], layer: Layer
) -> tuple[Tensor, Any]:
    """Compute a recurrence layer by layer, with zeros as initial states.

    Args:
        recurrence: Supplies the weights and options.
        x: (batch, time, features) or (time, batch, features), depending on ``batch_first``.
        between: Maps the outputs of a layer, (time, batch, features), to the next layer's inputs.
        layer: Computes one layer from its inputs and weights, as `one_layer` does.

    Returns:
        Outputs and last states, as ``recurrence`` returns them.
    """
    directions = 1 + recurrence.bidirectional
    weights = recurrence.all_weights  # a list for each direction of each layer
    steps = x.transpose(0, 1) if recurrence.batch_first else x
    last = []
    for first in range(0, len(weights), directions):
        if first > 0:
            steps = between(steps)
        steps, *ends = layer(steps, *chain(*weights[first : first + directions]))
        last.append(ends)
    hidden, *cells = (torch.cat(ends) for ends in zip(*last, strict=True))
    outputs = steps.transpose(0, 1) if recurrence.batch_first else steps
    return outputs, (hidden, *cells) if cells else hidden


def one_layer(recurrence: nn.RNNBase, steps: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
    """Return outputs (time, batch, features) and last states (directions, batch, size)."""
    directions = 1 + recurrence.bidirectional
    zeros = steps.new_zeros(directions, steps.shape[1], recurrence.hidden_size)
    options = (recurrence.bias, 1, 0.0, recurrence.training, recurrence.bidirectional, False)
    if recurrence.mode == "LSTM":
        return torch.lstm(steps, (zeros, zeros), weights, *options)
    return torch.gru(steps, zeros, weights, *options)
