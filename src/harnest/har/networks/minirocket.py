"""MiniRocket: features from fixed convolution kernels, and a linear layer."""

import math
from collections import Counter
from itertools import combinations, cycle, islice

import torch
from torch import Tensor, nn

from harnest.core.errors import ConfigError
from harnest.har.networks.ridge import ridge as least_squares

_TRIPLES = tuple(combinations(range(9), 3))
"""Positions of the weight 2 in the 84 kernels of length 9; all other weights are -1."""
_KERNELS = len(_TRIPLES)
_MAX_DILATIONS = 32
_SAMPLE = 1024
"""Number of windows from which the features' mean and deviation are computed."""


class MiniRocket(nn.Module):
    """Proportions of steps at which fixed kernels exceed fixed thresholds, and a linear layer.

    Dempster, Schmidt & Webb, "MiniRocket: A Very Fast (Almost) Deterministic Transform for Time
    Series Classification", 2021, in its multivariate form: each of 84 kernels, at each dilation
    that fits into the window, sums a random subset of the channels. A feature is the proportion of
    positive values (PPV) above a threshold. `init_from_data` computes the thresholds, which are
    quantiles of the kernels' responses to training windows, and the mean and deviation that
    standardize the features. All are buffers, which checkpoints contain. Maps
    (batch, time, channels) to logits (batch, classes).

    Args:
        channels: Channels of a window.
        classes: Number of classes.
        features: Approximate number of features, at least 84.
        differences: Whether to add the differences between consecutive steps as channels, scaled
            to deviation 1, as in MultiRocket (Tan et al. 2022).
        ridge: Penalty of the squared weights. `init_from_data` then solves the linear layer in
            closed form, as in the paper, and training only fits a factor of the logits, which
            calibrates the probabilities and keeps the predicted classes. None trains the layer.
        dropout: Dropout rate on the features.

    Raises:
        ConfigError: ``features`` or ``ridge`` is too small.
    """

    weights: Tensor
    mix: Tensor
    thresholds: Tensor
    center: Tensor
    spread: Tensor
    pace: Tensor

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        features: int = 9996,
        differences: bool = False,
        ridge: float | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if features < _KERNELS:
            raise ConfigError(f"features={features} cannot be used: it must be at least {_KERNELS}")
        if ridge is not None and not ridge > 0:
            raise ConfigError(f"ridge={ridge} cannot be used: it must be above 0, or null")
        self.differences = differences
        self.penalty = ridge
        self.each = features // _KERNELS
        weights = torch.full((_KERNELS, 1, 9), -1.0)
        for kernel, places in zip(weights, _TRIPLES, strict=True):
            kernel[0, list(places)] = 2.0
        self.register_buffer("weights", weights)
        sources = 2 * channels if differences else channels
        self.register_buffer("mix", _channel_choices(sources, min(self.each, _MAX_DILATIONS)))
        self.register_buffer("pace", torch.ones(channels))
        self.register_buffer("thresholds", torch.zeros(_KERNELS, self.each))
        self.register_buffer("center", torch.zeros(_KERNELS * self.each))
        self.register_buffer("spread", torch.ones(_KERNELS * self.each))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(_KERNELS * self.each, classes)
        self.factor = None if ridge is None else nn.Parameter(torch.ones(()))
        self.head.requires_grad_(ridge is None)

    @torch.no_grad()
    def init_from_data(self, windows: Tensor, labels: Tensor) -> None:
        """Compute thresholds and standardization, and with ``ridge`` the linear layer.

        Args:
            windows: Normalized training windows, (n, time, channels).
            labels: Their labels, (n,).
        """
        pace = windows.diff(dim=1).std(dim=(0, 1)) if windows.shape[1] > 2 else self.pace
        self.pace.copy_(torch.where(pace > 0, pace, 1.0))
        windows = self._sources(windows)
        quantiles = golden_ratios(_KERNELS * self.each).reshape(_KERNELS, self.each)
        done = 0
        for index, (dilation, count) in enumerate(dilations(windows.shape[1], self.each)):
            chosen = windows[torch.randint(len(windows), (_KERNELS,))]
            responses = self._responses(chosen, index, dilation)
            for kernel in range(_KERNELS):
                values = _within(responses[kernel, kernel], dilation, (index + kernel) % 2)
                wanted = quantiles[kernel, done : done + count].to(values)
                self.thresholds[kernel, done : done + count] = values.quantile(wanted)
            done += count
        chosen = torch.randperm(len(windows))[: _SAMPLE if self.penalty is None else None]
        shares = torch.cat([self._shares(windows[part]) for part in torch.split(chosen, 64)])
        self.center.copy_(shares.mean(dim=0))
        # A lower bound of one step, so that rare changes of a feature do not get a huge weight.
        least = 1 / windows.shape[1]
        self.spread.copy_(shares.std(dim=0, correction=0).clamp(min=least))
        if self.penalty is not None:
            shares.sub_(self.center).div_(self.spread)
            found = least_squares(shares, labels[chosen], self.head.out_features, self.penalty)
            self.head.weight.copy_(found[0])
            self.head.bias.copy_(found[1])

    def forward(self, x: Tensor) -> Tensor:
        """Map windows (batch, time, channels) to logits (batch, classes)."""
        # No half precision: it would shift responses across thresholds, and lose accuracy in sums
        # of ten thousand terms.
        with torch.autocast(x.device.type, enabled=False):
            with torch.no_grad():
                shares = (self._shares(self._sources(x.float())) - self.center) / self.spread
            logits: Tensor = self.head(self.dropout(shares.to(self.head.weight.dtype)))
        return logits if self.factor is None else self.factor * logits

    def _sources(self, x: Tensor) -> Tensor:
        """Return the kernels' inputs: the channels, with ``differences`` also their differences."""
        if not self.differences:
            return x
        return torch.cat([x, x.diff(dim=1, prepend=x[:, :1]) / self.pace.to(x)], dim=2)

    def _responses(self, x: Tensor, index: int, dilation: int) -> Tensor:
        """Return the response of each kernel at each step, (batch, kernels, time)."""
        weights = self.mix[index][:, :, None] * self.weights  # (kernels, channels, 9)
        return nn.functional.conv1d(
            x.transpose(1, 2), weights.to(x), padding=4 * dilation, dilation=dilation
        )

    def _shares(self, x: Tensor) -> Tensor:
        """Return the features, (batch, kernels * each)."""
        found = []
        done = 0
        for index, (dilation, count) in enumerate(dilations(x.shape[1], self.each)):
            responses = self._responses(x, index, dilation)
            thresholds = self.thresholds[:, done : done + count].to(x)
            shares = x.new_empty(x.shape[0], _KERNELS, count)
            for half in (0, 1):
                values = _within(responses[:, half::2], dilation, (index + half) % 2)
                for number in range(count):
                    # In-place on floats: several times faster than with booleans.
                    above = values.clone().gt_(thresholds[half::2, number, None])
                    shares[:, half::2, number] = above.mean(dim=2)
            found.append(shares)
            done += count
        return torch.cat(found, dim=2).flatten(1)


def dilations(length: int, each: int) -> list[tuple[int, int]]:
    """Return the dilations for windows of ``length`` steps, each with its number of features.

    The exponents of 2 are evenly spaced from 0 to that of the largest dilation at which a kernel
    fits into the window. The numbers of features sum up to ``each`` per kernel; small dilations get
    more.
    """
    spread = min(each, _MAX_DILATIONS)
    largest = max(0.0, math.log2(max(1, length - 1) / 8))
    exponents = (largest * index / max(1, spread - 1) for index in range(spread))
    shares = Counter(int(2**exponent) for exponent in exponents)
    counts = {dilation: share * each // spread for dilation, share in shares.items()}
    left = each - sum(counts.values())
    for dilation in islice(cycle(counts), left):
        counts[dilation] += 1
    return list(counts.items())


def golden_ratios(count: int) -> Tensor:
    """Return multiples of the golden ratio modulo 1, a low-discrepancy sequence in 0 to 1."""
    return (torch.arange(1, count + 1, dtype=torch.float64) * ((math.sqrt(5) + 1) / 2)) % 1


def _channel_choices(channels: int, count: int) -> Tensor:
    """Draw the channels of each kernel and dilation, (dilations, kernels, channels), 0 or 1.

    Their number is drawn log-uniformly from 1 to all channels (at most 9), as in the authors' code.
    """
    most = math.log2(min(channels, 9) + 1)
    several = (2 ** (torch.rand(count, _KERNELS, 1) * most)).int()
    ranks = torch.rand(count, _KERNELS, channels).argsort(dim=2).argsort(dim=2)
    return (ranks < several).float()


def _within(responses: Tensor, dilation: int, inner: int) -> Tensor:
    """Return all steps, or with ``inner`` those unaffected by padding, if there are any."""
    edge = 4 * dilation
    return responses[..., edge:-edge] if inner and responses.shape[-1] > 2 * edge else responses
