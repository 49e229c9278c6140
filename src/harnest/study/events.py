"""What callbacks are told about a study and its trials."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from harnest.study.space.parameter import key_of
from harnest.study.trial import PRUNED_AT

#: Trial attributes: why it failed, in a word, in a line; the number that it repeats.
REASON, MESSAGE, DETAILS, RETRY_OF = "reason", "message", "details", "retry_of"

#: Trial attribute: the deviation of its first value, where that is a mean.
DEVIATION = "deviation"

#: Trial attribute: how many replicates its score is the mean of.
REPLICATES = "replicates"


def reason_of(trial: FrozenTrial) -> str | None:
    """The reason why a trial failed, in one word; None if it did not fail.

    The attribute is written before the state, so a trial that another sweeper finished may have
    one.
    """
    return trial.user_attrs.get(REASON) if trial.state is TrialState.FAIL else None


@dataclass(frozen=True)
class StudyInfo:
    """What is known of a study before its first trial; a grid tries every combination.

    ``metric_names`` are its objectives', one for each direction, or empty where they have none.
    """

    name: str
    identity: str
    directory: Path
    directions: tuple[str, ...]
    is_grid: bool
    sampler: str
    pruner: str
    budget: int
    space: Mapping[str, Any]
    fixed: tuple[str, ...]
    command: str
    metric_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrialInfo:
    """A trial, running or ended.

    Attributes:
        params: Values of the searched keys.
        values: Its score for each objective; empty without one.
        steps: Reported values: by epoch, or by replicate.
        deviation: Of the first objective, if the score is the mean of replicates.
        replicates: Their number; 0 for a trial that is one job.
        broken: Names of the constraints that it violates.
        is_best: Whether it is on the Pareto front of the finished trials that violate no
            constraint.
    """

    number: int
    params: Mapping[str, Any]
    state: TrialState
    values: tuple[float, ...] = ()
    steps: Mapping[int, float] = field(default_factory=dict)
    duration: timedelta | None = None
    reason: str | None = None
    message: str | None = None
    details: str | None = None
    pruned_at: int | None = None
    retry_of: int | None = None
    deviation: float | None = None
    replicates: int = 0
    broken: tuple[str, ...] = ()
    is_best: bool = False

    @staticmethod
    def of(trial: FrozenTrial) -> "TrialInfo":
        """Read the facts from Optuna's record."""
        attributes = trial.user_attrs
        failure = attributes if trial.state is TrialState.FAIL else {}
        return TrialInfo(
            number=trial.number,
            params={key_of(name): value for name, value in trial.params.items()},
            state=trial.state,
            values=tuple(trial.values or ()),
            steps=dict(sorted(trial.intermediate_values.items())),
            duration=trial.duration,
            reason=reason_of(trial),
            message=failure.get(MESSAGE),
            details=failure.get(DETAILS),
            pruned_at=attributes.get(PRUNED_AT),
            retry_of=attributes.get(RETRY_OF),
            deviation=attributes.get(DEVIATION),
            replicates=attributes.get(REPLICATES, 0),
            broken=tuple(name for name, value in trial.constraints.items() if value > 0),
        )
