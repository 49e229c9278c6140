"""CNN-LSTM: convolutions that shorten the window, followed by a bidirectional LSTM."""

import torch
from torch import Tensor, nn

from harnest.har.networks.convolution import convolution
from harnest.har.networks.pooling import attention_score, pooled
from harnest.har.networks.recurrent_init import init_recurrent
from harnest.har.networks.validation import check_positive


def rescale(x: Tensor) -> Tensor:
    """Scale each channel of each window, (batch, time, channels), to mean 0 and deviation 1.

    Deviations below 1e-3 are replaced by 1e-3, so that nearly constant channels stay small.
    """
    centered = x - x.mean(dim=1, keepdim=True)
    return centered / centered.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-3)


class CNNLSTM(nn.Module):
    """Convolution blocks that halve the time steps, a bidirectional LSTM, attention pooling.

    The order of Sainath et al., "Convolutional, Long Short-Term Memory, Fully Connected Deep Neural
    Networks", 2015. The pooling is that of `harnest.har.networks.lstm.LSTM`. Maps
    (batch, time, channels) to logits (batch, classes).

    Args:
        channels: Channels of a window.
        classes: Number of classes.
        hidden_size: Units of the LSTM per direction.
        blocks: Number of blocks of convolution, batch normalization, ReLU and max-pooling over two
            steps. The LSTM reads 2**``blocks`` times fewer steps.
        filters: Filters of each convolution.
        kernel_size: Steps of each convolution.
        rescaled: Whether to append the channels scaled within each window. This exposes small
            movements while sitting or standing, which are more informative than the orientation of
            the device.
        dropout: Dropout rate before the LSTM and before the linear layer.

    Raises:
        ConfigError: ``blocks``, ``filters`` or ``kernel_size`` is below 1.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        hidden_size: int = 64,
        blocks: int = 2,
        filters: int = 64,
        kernel_size: int = 5,
        rescaled: bool = False,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        check_positive(blocks=blocks, filters=filters, kernel_size=kernel_size)
        self.rescaled = rescaled
        widths = [2 * channels if rescaled else channels] + [filters] * blocks
        self.convolutions = nn.Sequential(
            *(
                nn.Sequential(
                    convolution(inputs, filters, kernel_size),
                    nn.ReLU(),
                    nn.MaxPool1d(2, ceil_mode=True),
                )
                for inputs in widths[:-1]
            )
        )
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(filters, hidden_size, batch_first=True, bidirectional=True)
        init_recurrent(self.lstm)
        self.score = attention_score(2 * hidden_size)
        self.head = nn.Linear(2 * hidden_size, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map windows (batch, time, channels) to logits (batch, classes)."""
        if self.rescaled:
            x = torch.cat([x, rescale(x)], dim=2)
        maps = self.convolutions(x.transpose(1, 2)).transpose(1, 2)
        outputs, _ = self.lstm(self.dropout(maps))
        logits: Tensor = self.head(self.dropout(pooled(outputs, self.score)))
        return logits
