"""Which trials count towards the budget, and which are retries of others."""

from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from harnest.core.failure import INTERRUPTED
from harnest.study.events import RETRY_OF, reason_of


def retried_numbers(trials: Sequence[FrozenTrial]) -> set[int]:
    """Numbers of trials that another one repeats."""
    return {trial.user_attrs[RETRY_OF] for trial in trials if RETRY_OF in trial.user_attrs}


def params_of(trial: FrozenTrial) -> dict[str, Any]:
    """What a trial tries, as Optuna calls it, also where it has not drawn that yet."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def budget_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Those that use up the budget; one that is run again does not count twice."""
    again = retried_numbers(trials)
    return [
        trial
        for trial in trials
        if trial.state is not TrialState.WAITING
        and reason_of(trial) != INTERRUPTED
        and trial.number not in again
    ]


def times_failed(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """How often in a row this configuration has failed for this trial's reason."""
    reason = reason_of(trial)
    times = 1
    while (before := trial.user_attrs.get(RETRY_OF)) is not None:
        trial = trials[before]
        times += reason_of(trial) == reason
    return times
