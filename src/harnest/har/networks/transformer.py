"""Transformer encoder over the patches of a window."""

import math

import torch
from torch import Tensor, nn

from harnest.core.errors import ConfigError
from harnest.har.networks.pooling import attention_score, pooled
from harnest.har.networks.validation import check_positive


class Transformer(nn.Module):
    """Self-attention between patches of a window, attention pooling and a linear layer.

    The encoder of Vaswani et al., "Attention Is All You Need", 2017, with normalization before each
    sub-layer (Xiong et al. 2020) and sinusoidal positions, so that a window may have any length.
    Its tokens are patches of all channels (as of images in Dosovitskiy et al. 2021). Maps
    (batch, time, channels) to logits (batch, classes).

    Args:
        channels: Channels of a window.
        classes: Number of classes.
        hidden_size: Width of a token, an even multiple of ``heads``.
        layers: Number of encoder layers.
        heads: Number of attention heads.
        patch: Steps per patch. A window is padded with zeros at its start if its length is not a
            multiple of ``patch``.
        dropout: Dropout rate.

    Raises:
        ConfigError: ``heads`` or ``patch`` is below 1, or ``hidden_size`` does not fit ``heads``.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        hidden_size: int = 64,
        layers: int = 3,
        heads: int = 4,
        patch: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_positive(heads=heads, patch=patch)
        if hidden_size % (2 * heads):
            raise ConfigError(
                f"hidden_size={hidden_size} must be an even multiple of heads={heads}, as "
                f"{2 * heads * max(1, round(hidden_size / (2 * heads)))} is"
            )
        self.patch = patch
        self.embedding = nn.Linear(patch * channels, hidden_size)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(
                hidden_size,
                heads,
                dim_feedforward=2 * hidden_size,
                dropout=dropout,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            ),
            layers,
            norm=nn.LayerNorm(hidden_size),
            enable_nested_tensor=False,
        )
        self.score = attention_score(hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map windows (batch, time, channels) to logits (batch, classes)."""
        x = nn.functional.pad(x, (0, 0, -x.shape[1] % self.patch, 0))
        tokens = self.embedding(x.reshape(x.shape[0], -1, self.patch * x.shape[2]))
        tokens = self.encoder(self.dropout(tokens + positions(tokens)))
        logits: Tensor = self.head(self.dropout(pooled(tokens, self.score)))
        return logits


def positions(tokens: Tensor) -> Tensor:
    """Return sinusoidal position encodings, (count, size), for tokens (batch, count, size).

    Vaswani et al. 2017, section 3.5.
    """
    _, count, size = tokens.shape
    place = torch.arange(count, device=tokens.device)[:, None]
    rate = torch.exp(torch.arange(0, size, 2, device=tokens.device) * (-math.log(10_000) / size))
    return torch.stack(((place * rate).sin(), (place * rate).cos()), dim=2).flatten(1).to(tokens)
