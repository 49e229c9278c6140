"""InceptionTime: parallel convolutions of several widths."""

import torch
from torch import Tensor, nn

from harnest.har.networks.convolution import convolution
from harnest.har.networks.validation import check_positive

EVERY = 3
"""A shortcut leads over each three modules."""


class Peak(nn.Module):
    """The largest of each step and its two neighbours: (batch, channels, time) to the same.

    Torch's own maximum, MaxPool1d, has a gradient that may not repeat itself on a GPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Compare each step with its neighbours."""
        padded = nn.functional.pad(x, (1, 1), value=float("-inf"))
        return torch.maximum(torch.maximum(padded[..., :-2], x), padded[..., 2:])


class Inception(nn.Module):
    """Three convolutions of different widths and a maximum, side by side, normalised together.

    Maps (batch, inputs, time) to (batch, 4 * filters, time).
    """

    def __init__(self, inputs: int, filters: int, width: int) -> None:
        super().__init__()
        squeezed = filters if inputs > 1 else inputs
        self.squeeze = nn.Conv1d(inputs, filters, 1, bias=False) if inputs > 1 else nn.Identity()
        self.branches = nn.ModuleList(
            # Odd widths, so that each branch is centred on the same step.
            nn.Conv1d(squeezed, filters, odd, padding=odd // 2, bias=False)
            for odd in (width // part | 1 for part in (1, 2, 4))
        )
        self.peak = nn.Sequential(Peak(), nn.Conv1d(inputs, filters, 1, bias=False))
        self.normalise = nn.Sequential(nn.BatchNorm1d(4 * filters), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Convolve all branches, and put them on top of each other."""
        squeezed = self.squeeze(x)
        branches = [*(branch(squeezed) for branch in self.branches), self.peak(x)]
        y: Tensor = self.normalise(torch.cat(branches, dim=1))
        return y


class InceptionTime(nn.Module):
    """Inception modules with a shortcut over each three, averaged over time, one linear layer.

    Ismail Fawaz et al., "InceptionTime: Finding AlexNet for time series classification", 2020: one
    network; theirs is an ensemble of five. ``hidden_size`` filters in each of a module's four
    branches, ``layers`` modules, the widest convolution of about ``kernel_size`` steps, the others
    a half and a quarter of it. Takes (batch, time, channels), gives logits (batch, classes).
    Dropout, which the paper has not, acts on the averaged features.
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
