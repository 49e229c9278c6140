"""DeepConvLSTM: convolutions within each channel, followed by a stacked LSTM."""

from torch import Tensor, nn

from harnest.har.networks.recurrence import StackedLSTM
from harnest.har.networks.recurrent_init import init_recurrent
from harnest.har.networks.validation import check_positive


class DeepConvLSTM(nn.Module):
    """Four convolutions over time within each channel, and the last state of a stacked LSTM.

    Ordóñez & Roggen, "Deep convolutional and LSTM recurrent neural networks for multimodal wearable
    activity recognition", 2016. The convolutions share their weights between channels; the LSTM
    reads the maps of all channels. Unlike in the paper, the convolutions pad the window, so that it
    may be shorter than their receptive field. Maps (batch, time, channels) to logits
    (batch, classes).

    Args:
        channels: Channels of a window.
        classes: Number of classes.
        hidden_size: Units of each LSTM layer.
        layers: Number of LSTM layers.
        filters: Maps of each convolution.
        kernel_size: Steps of each convolution.
        dropout: Dropout rate before each LSTM layer and before the linear layer.

    Raises:
        ConfigError: ``filters`` or ``kernel_size`` is below 1.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        hidden_size: int = 128,
        layers: int = 2,
        filters: int = 64,
        kernel_size: int = 5,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        check_positive(filters=filters, kernel_size=kernel_size)
        convolutions: list[nn.Module] = []
        for inputs in (1, filters, filters, filters):
            convolutions += [
                nn.ZeroPad2d((0, 0, (kernel_size - 1) // 2, kernel_size // 2)),
                nn.Conv2d(inputs, filters, (kernel_size, 1)),
                nn.ReLU(),
            ]
        self.convolutions = nn.Sequential(*convolutions)
        self.dropout = nn.Dropout(dropout)
        self.lstm = StackedLSTM(
            filters * channels,
            hidden_size,
            layers,
            batch_first=True,
            dropout=dropout if layers > 1 else 0.0,
        )
        init_recurrent(self.lstm)
        self.head = nn.Linear(hidden_size, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map windows (batch, time, channels) to logits (batch, classes)."""
        maps = self.convolutions(x.unsqueeze(1))  # (batch, filters, time, channels)
        _, (hidden, _) = self.lstm(self.dropout(maps.transpose(1, 2).flatten(2)))
        logits: Tensor = self.head(self.dropout(hidden[-1]))
        return logits
