"""Learning rate schedules."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from harnest.core.errors import ConfigError


def warmup_cosine(
    optimizer: Optimizer, total_steps: int, *, warmup: float = 0.1, final: float = 0.0
) -> LambdaLR:
    """From next to nothing linearly up to the optimizer's rate, then down along half a cosine.

    ``warmup`` is the share of the ``total_steps`` that it rises for, ``final`` the share of the
    optimizer's rate that is left at the end. Goyal et al., "Accurate, Large Minibatch SGD", 2017,
    section 2.2; Loshchilov & Hutter, "SGDR", 2017, eq. 5. Raises `ConfigError` for shares that
    are none.
    """
    if not 0 <= warmup < 1:
        raise ConfigError(
            f"scheduler.warmup={warmup} cannot be used: it must be at least 0, below 1"
        )
    if not 0 <= final <= 1:
        raise ConfigError(f"scheduler.final={final} cannot be used: it must be from 0 to 1")
    rising = round(warmup * total_steps)

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        progress = (step - rising) / max(1, total_steps - rising)
        return final + (1 - final) * (1 + math.cos(math.pi * min(1.0, progress))) / 2

    return LambdaLR(optimizer, share)
