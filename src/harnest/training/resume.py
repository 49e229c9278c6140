"""Applies the options of the current config to optimizers restored from a checkpoint."""

import math
import warnings
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

Scheduler = LRScheduler | ReduceLROnPlateau

_SEEN = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")


def restore_options(
    optimizer: Optimizer, scheduler: Scheduler | None, made: Optimizer, follow: Scheduler | None
) -> None:
    """Give a restored ``optimizer`` and ``scheduler`` the options of newly made ones.

    A checkpoint restores the options of its own config; a new learning rate or more epochs would be
    recorded but not used. A `ReduceLROnPlateau` keeps the rate that it had reached.

    Args:
        optimizer: Restored from a checkpoint.
        scheduler: Restored from a checkpoint, or None.
        made: A new optimizer.
        follow: A new scheduler, advanced to the current step, or None.
    """
    keeps_rate = False
    if scheduler is not None and follow is not None:
        state = follow.state_dict()
        if isinstance(scheduler, ReduceLROnPlateau):
            keeps_rate = math.isfinite(scheduler.best)  # it has seen a metric before
            state |= {key: getattr(scheduler, key) for key in _SEEN}
        scheduler.load_state_dict(state)
    for group, now in zip(optimizer.param_groups, made.param_groups, strict=True):
        options: dict[str, Any] = {key: value for key, value in now.items() if key != "params"}
        if keeps_rate:
            del options["lr"]
        group.update(options)


def advance(scheduler: Scheduler, steps: int) -> None:
    """Bring a new scheduler to where it is after ``steps`` of its steps, as far as it can know."""
    if isinstance(scheduler, ReduceLROnPlateau):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that its optimizer made no steps
        for _ in range(steps):
            scheduler.step()
