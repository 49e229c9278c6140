"""Residual convolutional network over time."""

from torch import Tensor, nn

from harnest.har.networks.convolution import convolution

WIDTHS = (8, 5, 3)


class Residual(nn.Module):
    """Residual block: three convolutions of 8, 5 and 3 steps, and a shortcut."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.convolutions = nn.Sequential(
            convolution(inputs, filters, first),
            nn.ReLU(),
            convolution(filters, filters, second),
            nn.ReLU(),
            convolution(filters, filters, third),
        )
        self.shortcut = (
            convolution(inputs, filters, 1) if inputs != filters else nn.BatchNorm1d(filters)
        )
        self.rectify = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, time) to (batch, filters, time)."""
        y: Tensor = self.rectify(self.convolutions(x) + self.shortcut(x))
        return y


class ResNet(nn.Module):
    """Three residual blocks of three convolutions, an average over time, one linear layer.

    Wang, Yan & Oates, "Time series classification from scratch with deep neural networks: a strong
    baseline", 2017, figure 1c: ``hidden_size`` filters in the first block, twice as many in the
    others. Maps (batch, time, channels) to logits (batch, classes). Dropout on the averaged
    features is not in the paper.
    """

    def __init__(
        self, channels: int, classes: int, *, hidden_size: int = 64, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            Residual(channels, hidden_size),
            Residual(hidden_size, 2 * hidden_size),
            Residual(2 * hidden_size, 2 * hidden_size),
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * hidden_size, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map windows (batch, time, channels) to logits (batch, classes)."""
        features = self.blocks(x.transpose(1, 2)).mean(dim=2)
        logits: Tensor = self.head(self.dropout(features))
        return logits
