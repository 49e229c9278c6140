"""A network of their own: a plain module that takes windows and gives logits."""

from torch import Tensor, nn


class Conv(nn.Module):
    """Two convolutions over time and an average: (batch, time, channels) to (batch, classes)."""

    def __init__(self, channels: int, classes: int, *, filters: int = 8, width: int = 5) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(channels, filters, width),
            nn.ReLU(),
            nn.Conv1d(filters, filters, width),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Linear(filters, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map windows to logits."""
        logits: Tensor = self.layers(x.transpose(1, 2))
        return logits
