"""The yardsticks' network: the LSTM of the study `quick`, as people write it with torch alone."""

from torch import Tensor, nn


class LSTM(nn.Module):
    """Stacked LSTM, pooled over time, a linear layer; weights begin as torch has them."""

    def __init__(
        self,
        channels: int,
        classes: int,
        hidden_size: int,
        layers: int,
        dropout: float,
        pooling: str,
    ) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0
        self.lstm = nn.LSTM(channels, hidden_size, layers, batch_first=True, dropout=between)
        self.pooling = pooling
        self.score = nn.Sequential(
            nn.Linear(hidden_size, hidden_size), nn.Tanh(), nn.Linear(hidden_size, 1, bias=False)
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map windows (batch, time, channels) to logits (batch, classes)."""
        outputs, _ = self.lstm(x)
        if self.pooling == "last":
            features = outputs[:, -1]
        elif self.pooling == "mean":
            features = outputs.mean(dim=1)
        else:
            features = (self.score(outputs).softmax(dim=1) * outputs).sum(dim=1)
        logits: Tensor = self.head(self.dropout(features))
        return logits
