"""Long short-term memory (LSTM) network over the steps of a window."""

from torch import Tensor, nn

from harnest.har.networks.pooling import (
    Pooling,
    attention_score,
    check_pooling,
    last_states,
    pooled,
)
from harnest.har.networks.recurrence import StackedLSTM
from harnest.har.networks.recurrent_init import init_recurrent


class LSTM(nn.Module):
    """Stacked LSTM (Hochreiter & Schmidhuber 1997), pooled over time, and a linear layer.

    Maps (batch, time, channels) to logits (batch, classes).

    Args:
        channels: Channels of a window.
        classes: Number of classes.
        hidden_size: Units of each layer and direction.
        layers: Number of layers.
        bidirectional: Whether each layer reads the window in both directions.
        dropout: Dropout rate between the layers and on the pooled features, so it also applies to
            a single layer.
        pooling: ``last`` takes each direction's final state, ``mean`` averages the outputs over
            time, ``attention`` weights them by a learned score (Yang et al., "Hierarchical
            Attention Networks for Document Classification", 2016, eq. 5 to 7).

    Raises:
        ConfigError: ``pooling`` is unknown.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        hidden_size: int = 64,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        pooling: Pooling = "last",
    ) -> None:
        super().__init__()
        check_pooling(pooling)
        features = hidden_size * (2 if bidirectional else 1)
        self.lstm = StackedLSTM(
            channels,
            hidden_size,
            layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0.0,
        )
        init_recurrent(self.lstm)
        self.pooling = pooling
        self.score = attention_score(features) if pooling == "attention" else None
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map windows (batch, time, channels) to logits (batch, classes)."""
        outputs, (hidden, _) = self.lstm(x)
        if self.pooling == "last":
            features = last_states(hidden, bidirectional=self.lstm.bidirectional)
        else:
            features = pooled(outputs, self.score)
        logits: Tensor = self.head(self.dropout(features))
        return logits
