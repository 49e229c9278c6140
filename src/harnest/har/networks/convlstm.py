"""ConvLSTM: an LSTM over sub-windows, whose gates are convolutions within a sub-window."""

import torch
from torch import Tensor, nn

from harnest.har.networks.validation import check_positive


class ConvLSTMCell(nn.Module):
    """One step of a convolutional LSTM.

    Shi et al., "Convolutional LSTM Network: A Machine Learning Approach for Precipitation
    Nowcasting", 2015, eq. 3, in one dimension and without peepholes, whose weights would
    fix the window length.
    """

    def __init__(self, inputs: int, hidden_size: int, kernel_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.gates = nn.Sequential(
            nn.ConstantPad1d(((kernel_size - 1) // 2, kernel_size // 2), 0.0),
            nn.Conv1d(inputs + hidden_size, 4 * hidden_size, kernel_size),
        )

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Map (batch, inputs, steps) and the states, (batch, hidden_size, steps), to new states."""
        gates = self.gates(torch.cat((x, hidden), dim=1)).chunk(4, dim=1)
        add, forget, out = (gate.sigmoid() for gate in gates[:3])
        cell = forget * cell + add * gates[3].tanh()
        return out * cell.tanh(), cell


class ConvLSTM(nn.Module):
    """Stacked ConvLSTM over sub-windows, averaged over the last one, and a linear layer.

    Maps (batch, time, channels) to logits (batch, classes).

    Args:
        channels: Channels of a window.
        classes: Number of classes.
        hidden_size: Channels of the states.
        layers: Number of ConvLSTM layers.
        parts: Number of equal sub-windows. A window is padded with zeros at its start if its
            length is not a multiple of ``parts``.
        kernel_size: Steps of the gates' convolutions.
        dropout: Dropout rate between the layers and on the averaged features.

    Raises:
        ConfigError: ``parts`` or ``kernel_size`` is below 1.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        hidden_size: int = 64,
        layers: int = 1,
        parts: int = 8,
        kernel_size: int = 5,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive(parts=parts, kernel_size=kernel_size)
        self.parts = parts
        self.cells = nn.ModuleList(
            ConvLSTMCell(hidden_size if index else channels, hidden_size, kernel_size)
            for index in range(layers)
        )
        self.hidden_size = hidden_size
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map windows (batch, time, channels) to logits (batch, classes)."""
        x = nn.functional.pad(x.transpose(1, 2), (-x.shape[1] % self.parts, 0))
        sequence = list(x.chunk(self.parts, dim=2))  # parts of (batch, channels, steps)
        for index, step in enumerate(self.cells):
            hidden = cell = sequence[0].new_zeros(
                sequence[0].shape[0], self.hidden_size, sequence[0].shape[2]
            )
            for part, signal in enumerate(sequence):
                hidden, cell = step(self.dropout(signal) if index else signal, hidden, cell)
                sequence[part] = hidden
        logits: Tensor = self.head(self.dropout(sequence[-1].mean(dim=2)))
        return logits
