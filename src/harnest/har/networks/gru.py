"""Gated recurrent unit (GRU) network over the steps of a window."""

from torch import Tensor, nn

from harnest.har.networks.pooling import (
    Pooling,
    attention_score,
    check_pooling,
    last_states,
    pooled,
)
from harnest.har.networks.recurrence import StackedGRU
from harnest.har.networks.recurrent_init import init_recurrent


class GRU(nn.Module):
    """Stacked GRU, pooled over time, and a linear layer.

    Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
    Translation", 2014. Maps (batch, time, channels) to logits (batch, classes). The options are
    those of `harnest.har.networks.lstm.LSTM`.
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
        self.gru = StackedGRU(
            channels,
            hidden_size,
            layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0.0,
        )
        init_recurrent(self.gru)
        self.pooling = pooling
        self.score = attention_score(features) if pooling == "attention" else None
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map windows (batch, time, channels) to logits (batch, classes)."""
        outputs, hidden = self.gru(x)
        if self.pooling == "last":
            features = last_states(hidden, bidirectional=self.gru.bidirectional)
        else:
            features = pooled(outputs, self.score)
        logits: Tensor = self.head(self.dropout(features))
        return logits
