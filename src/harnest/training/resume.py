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
    """Give a restored ``optimizer`` and ``scheduler`` the options and rates of newly made ones.

    What a checkpoint restores are the options of then: a rate or a longer run that is asked for
    now would be recorded, and not trained with. ``made`` and ``follow`` are where they would be
    now. Only a `ReduceLROnPlateau` goes on from the rate that it had come to.
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
