"""Pooling of the features of all steps into those of the window."""

from typing import Literal

import torch
from torch import Tensor, nn

from harnest.core.errors import ConfigError

Pooling = Literal["last", "mean", "attention"]


def check_pooling(pooling: str) -> None:
    """Raise `ConfigError` for an unknown pooling."""
    if pooling not in ("last", "mean", "attention"):
        raise ConfigError(f"pooling={pooling} is unknown: choose last, mean or attention")


def attention_score(features: int) -> nn.Module:
    """Return a learned attention score: maps (batch, time, features) to (batch, time, 1).

    Yang et al., "Hierarchical Attention Networks for Document Classification", 2016, eq. 5 to 7.
    """
    return nn.Sequential(
        nn.Linear(features, features), nn.Tanh(), nn.Linear(features, 1, bias=False)
    )


def pooled(outputs: Tensor, score: nn.Module | None) -> Tensor:
    """Average ``outputs``, (batch, time, features), over time, weighted by ``score`` if given."""
    if score is None:
        return outputs.mean(dim=1)
    weights: Tensor = score(outputs).softmax(dim=1)
    return (weights * outputs).sum(dim=1)


def last_states(hidden: Tensor, *, bidirectional: bool) -> Tensor:
    """Return the final state of the last layer, in all directions, (batch, features).

    ``hidden`` are the states that torch's recurrent layers return, (layers * directions, batch,
    size).
    """
    return torch.cat(tuple(hidden[-2 if bidirectional else -1 :]), dim=1)
