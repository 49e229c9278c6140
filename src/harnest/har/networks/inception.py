"""InceptionTime: parallel convolutions of several widths."""

import torch
from torch import Tensor, nn

from harnest.har.networks.convolution import convolution
from harnest.har.networks.validation import check_positive

EVERY = 3
"""Number of modules per residual shortcut."""


class Peak(nn.Module):
    """Maximum over three steps with stride 1; keeps the shape (batch, channels, time).

    The gradient of torch's MaxPool1d is not deterministic on a GPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the maximum of each step and its two neighbours."""
        padded = nn.functional.pad(x, (1, 1), value=float("-inf"))
        return torch.maximum(torch.maximum(padded[..., :-2], x), padded[..., 2:])


class Inception(nn.Module):
    """Three parallel convolutions of different widths and a max-pooling, batch-normalized.

    Maps (batch, inputs, time) to (batch, 4 * filters, time).
    """

    def __init__(self, inputs: int, filters: int, width: int) -> None:
        super().__init__()
        squeezed = filters if inputs > 1 else inputs
        self.squeeze = nn.Conv1d(inputs, filters, 1, bias=False) if inputs > 1 else nn.Identity()
        self.branches = nn.ModuleList(
            # Odd widths, so that all branches are centred on the same step.
            nn.Conv1d(squeezed, filters, odd, padding=odd // 2, bias=False)
            for odd in (width // part | 1 for part in (1, 2, 4))
        )
        self.peak = nn.Sequential(Peak(), nn.Conv1d(inputs, filters, 1, bias=False))
        self.normalise = nn.Sequential(nn.BatchNorm1d(4 * filters), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Compute and concatenate all branches."""
        squeezed = self.squeeze(x)
        branches = [*(branch(squeezed) for branch in self.branches), self.peak(x)]
        y: Tensor = self.normalise(torch.cat(branches, dim=1))
        return y


class InceptionTime(nn.Module):
    """Inception modules with a shortcut per three, averaged over time, and a linear layer.

    Ismail Fawaz et al., "InceptionTime: Finding AlexNet for time series classification", 2020. This
    is a single network; the paper's is an ensemble of five. Maps (batch, time, channels) to logits
    (batch, classes).

    Args:
        channels: Channels of a window.
        classes: Number of classes.
        hidden_size: Filters in each of a module's four branches.
        layers: Number of modules.
        kernel_size: Steps of the widest convolution, approximately; the other two have a half and
            a quarter of it.
        dropout: Dropout rate on the averaged features; not in the paper.

    Raises:
        ConfigError: ``kernel_size`` is below 1.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        hidden_size: int = 32,
        layers: int = 6,
        kernel_size: int = 40,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive(kernel_size=kernel_size)
        features = 4 * hidden_size
        self.inceptions = nn.ModuleList(
            Inception(features if index else channels, hidden_size, kernel_size)
            for index in range(layers)
        )
        self.shortcuts = nn.ModuleList(
            convolution(features if index else channels, features, 1)
            for index in range(layers // EVERY)
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map windows (batch, time, channels) to logits (batch, classes)."""
        x = before = x.transpose(1, 2)
        for index, inception in enumerate(self.inceptions, start=1):
            x = inception(x)
            if index % EVERY == 0:
                x = before = (x + self.shortcuts[index // EVERY - 1](before)).relu()
        logits: Tensor = self.head(self.dropout(x.mean(dim=2)))
        return logits
