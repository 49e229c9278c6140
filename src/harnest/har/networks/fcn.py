"""Fully convolutional network over time."""

from torch import Tensor, nn

from harnest.har.networks.convolution import convolution

WIDTHS = (8, 5, 3)


class FCN(nn.Module):
    """Three convolutions of 8, 5 and 3 steps, an average over time, one linear layer.

    Wang, Yan & Oates, "Time series classification from scratch with deep neural networks: a strong
    baseline", 2017, figure 1b: ``hidden_size``, twice and once as many filters, each convolution
    followed by batch normalization and ReLU. Maps (batch, time, channels) to logits
    (batch, classes). Dropout on the averaged features is not in the paper.
    """

    def __init__(
        self, channels: int, classes: int, *, hidden_size: int = 128, dropout: float = 0.0
    ) -> None:
        super().__init__()
        sizes = (channels, hidden_size, 2 * hidden_size, hidden_size)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(convolution(inputs, filters, width), nn.ReLU())
                for inputs, filters, width in zip(sizes, sizes[1:], WIDTHS, strict=False)
            )
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map windows (batch, time, channels) to logits (batch, classes)."""
        features = self.blocks(x.transpose(1, 2)).mean(dim=2)
        logits: Tensor = self.head(self.dropout(features))
        return logits
