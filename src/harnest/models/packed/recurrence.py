"""An LSTM of batched matrix products, which vmap can take: cuDNN's and torch's own it cannot."""

from typing import Any

import torch
from torch import Tensor, nn


class Recurrence(torch.autograd.Function):
    """The recurrent part of several LSTMs (Hochreiter & Schmidhuber 1997), each with own weights.

    Takes what a layer's inputs add to its gates, (time, k, batch, 4 * size), and the recurrent
    weights, (k, 4 * size, size), gates in torch's order; gives the hidden states,
    (time, k, batch, size), with gates and cells for the way back. Written out because the slopes
    of all steps can be computed at once, which leaves few kernels for each step.
    """

    @staticmethod
    def forward(inputs: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Step by step from states of zero."""
        time, k, batch, _ = inputs.shape
        size = weight.shape[2]
        gates = torch.empty_like(inputs, memory_format=torch.contiguous_format)
        hidden, cells = (inputs.new_empty(time, k, batch, size) for _ in range(2))
        h = c = inputs.new_zeros(k, batch, size)
        turned = weight.transpose(1, 2)
        for step in range(time):
            torch.baddbmm(inputs[step], h, turned, out=gates[step])
            let_in, forget, new, let_out = gates[step].chunk(4, dim=2)
            gates[step, :, :, : 2 * size].sigmoid_()
            new.tanh_()
            let_out.sigmoid_()
            c = torch.mul(forget, c, out=cells[step]).addcmul_(let_in, new)
            h = torch.tanh(c, out=hidden[step]).mul_(let_out)
        return hidden, gates, cells

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, ...]) -> None:
        """Keep what the way back needs."""
        hidden, gates, cells = output
        ctx.mark_non_differentiable(gates, cells)
        ctx.save_for_backward(inputs[1], hidden, gates, cells)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Back through time."""
        weight, hidden, gates, cells = ctx.saved_tensors
        of_hidden = gradients[0]
        let_in, forget, new, let_out = gates.chunk(4, dim=3)
        shown = cells.tanh()
        to_cell = let_out * (1 - shown.square())
        # How the cell depends on the first three gates before their nonlinearity, and how the
        # hidden state on the last one; multiplied below by the gradient of cell or hidden state.
        slopes = (
            new * let_in * (1 - let_in),
            _before(cells) * forget * (1 - forget),
            let_in * (1 - new.square()),
            shown * let_out * (1 - let_out),
        )
        of_gates = torch.stack(slopes, dim=3)  # (time, k, batch, 4, size)
        flat = of_gates.flatten(3)
        dh, dc = of_hidden[-1], torch.zeros_like(cells[0])
        for step in reversed(range(len(cells))):
            if step + 1 < len(cells):
                dh = torch.baddbmm(of_hidden[step], flat[step + 1], weight)
            dc = torch.addcmul(dc, dh, to_cell[step])
            of_gates[step, :, :, :3].mul_(dc.unsqueeze(2))
            of_gates[step, :, :, 3].mul_(dh)
            dc = dc * forget[step]
        of_weight = torch.einsum("tkbg,tkbh->kgh", flat, _before(hidden))
        return flat, of_weight

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], inputs: Tensor, weight: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """Several of several are more of them."""
        members = info.batch_size
        inputs = _spread(inputs, in_dims[0], 1, members)
        weight = _spread(weight, in_dims[1], 0, members)
        k = inputs.shape[2]
        outputs = Recurrence.apply(inputs.flatten(1, 2), weight.flatten(0, 1))  # type: ignore[no-untyped-call]
        return tuple(output.unflatten(1, (members, k)) for output in outputs), (1, 1, 1)


def _before(states: Tensor) -> Tensor:
    """The states (time, ...) one step earlier, zero at the first."""
    return torch.cat([torch.zeros_like(states[:1]), states[:-1]])


def _spread(x: Tensor, dim: int | None, to: int, count: int) -> Tensor:
    if dim is not None:
        return x.movedim(dim, to)
    x = x.unsqueeze(to)
    return x.expand(*x.shape[:to], count, *x.shape[to + 1 :])


class UnrolledLSTM(nn.LSTM):
    """``nn.LSTM`` with the same weights under the same names, as a loop over time.

    ``between`` is the dropout between its layers. It begins with states of zero, and gives None
    for the last cells.
    """

    def __init__(self, like: nn.LSTM, between: nn.Module) -> None:
        super().__init__(
            like.input_size,
            like.hidden_size,
            like.num_layers,
            bias=like.bias,
            batch_first=like.batch_first,
            bidirectional=like.bidirectional,
        )
        self.between = between

    def forward(  # type: ignore[override]
        self, x: Tensor, states: None = None
    ) -> tuple[Tensor, tuple[Tensor, None]]:
        """Map (batch, time, features), or (time, batch, features), to outputs and last states."""
        if states is not None or x.ndim != 3:
            raise NotImplementedError("LSTM with states of its own, or without a batch")
        steps = x.transpose(0, 1) if self.batch_first else x
        last: list[Tensor] = []
        for layer in range(self.num_layers):
            if layer > 0:
                steps = self.between(steps)
            outputs = self._read(steps, f"_l{layer}")
            last.append(outputs[-1])
            if self.bidirectional:
                backwards = self._read(steps.flip(0), f"_l{layer}_reverse")
                last.append(backwards[-1])
                outputs = torch.cat([outputs, backwards.flip(0)], dim=2)
            steps = outputs
        return steps.transpose(0, 1) if self.batch_first else steps, (torch.stack(last), None)

    def _read(self, steps: Tensor, name: str) -> Tensor:
        bias = None
        if self.bias:
            bias = getattr(self, f"bias_ih{name}") + getattr(self, f"bias_hh{name}")
        inputs = nn.functional.linear(steps, getattr(self, f"weight_ih{name}"), bias)
        weight: Tensor = getattr(self, f"weight_hh{name}")
        hidden: Tensor = Recurrence.apply(inputs.unsqueeze(1), weight.unsqueeze(0))[0]  # type: ignore[no-untyped-call]
        return hidden.squeeze(1)
