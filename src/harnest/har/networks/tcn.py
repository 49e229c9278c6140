"""Temporal convolutional network: causal convolutions of increasing dilation."""

from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from harnest.har.networks.pooling import Pooling, attention_score, check_pooling, pooled
from harnest.har.networks.validation import check_positive


class Block(nn.Module):
    """Two causal, dilated convolutions and a shortcut: figure 1b of Bai et al. 2018."""

    def __init__(
        self, inputs: int, filters: int, kernel_size: int, dilation: int, dropout: float
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in (inputs, filters):
            layers += [
                nn.ConstantPad1d(((kernel_size - 1) * dilation, 0), 0.0),
                weight_norm(nn.Conv1d(width, filters, kernel_size, dilation=dilation)),
                nn.ReLU(),
                nn.Dropout1d(dropout),  # drops whole channels, as in the paper
            ]
        self.convolutions = nn.Sequential(*layers)
        self.shortcut = nn.Conv1d(inputs, filters, 1) if inputs != filters else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, time) to (batch, filters, time)."""
        y: Tensor = (self.convolutions(x) + self.shortcut(x)).relu()
        return y


class TCN(nn.Module):
    """Residual blocks of causal convolutions, with doubling dilation, and a linear layer.

    Bai, Kolter & Koltun, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks
    for Sequence Modeling", 2018. The receptive field of the last step is
    ``1 + 2 * (kernel_size - 1) * (2 ** layers - 1)`` steps. Maps (batch, time, channels) to logits
    (batch, classes).

    Args:
        channels: Channels of a window.
        classes: Number of classes.
        hidden_size: Filters of each convolution.
        layers: Number of blocks.
        kernel_size: Steps of each convolution.
        dropout: Dropout rate of whole channels after each convolution, and of the pooled features.
        pooling: ``last`` takes the features of the last step, as in the paper, ``mean`` averages
            them over time, ``attention`` weights them by a learned score.

    Raises:
        ConfigError: ``kernel_size`` is below 1, or ``pooling`` is unknown.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        hidden_size: int = 64,
        layers: int = 5,
        kernel_size: int = 5,
        dropout: float = 0.1,
        pooling: Pooling = "last",
    ) -> None:
        super().__init__()
        check_positive(kernel_size=kernel_size)
        check_pooling(pooling)
        self.blocks = nn.Sequential(
            *(
                Block(hidden_size if i else channels, hidden_size, kernel_size, 2**i, dropout)
                for i in range(layers)
            )
        )
        self.pooling = pooling
        self.score = attention_score(hidden_size) if pooling == "attention" else None
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map windows (batch, time, channels) to logits (batch, classes)."""
        steps = self.blocks(x.transpose(1, 2)).transpose(1, 2)
        features = steps[:, -1] if self.pooling == "last" else pooled(steps, self.score)
        logits: Tensor = self.head(self.dropout(features))
        return logits
