"""The outcome of a trial, derived from what its job returned."""

import io
import math
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field, replace
from typing import Any

import optuna
from hydra.core.utils import JobReturn, JobStatus
from optuna.trial import FrozenTrial, TrialState

from harnest.core.failure import DIVERGED, Failure, failure_of
from harnest.study.constraints import Constraint
from harnest.study.trial import measured_attribute


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        state: Optuna's state.
        values: The scores of a finished trial.
        failure: Of a failed trial.
        deviation: Of the first score, if it is a mean of replicates.
        violations: By how much each constraint is exceeded; 0 or less if it is not.
    """

    state: TrialState
    values: tuple[float, ...] = ()
    failure: Failure | None = None
    deviation: float | None = None
    violations: Mapping[str, float] = field(default_factory=dict)


def outcome_of(job: JobReturn, objectives: int, pruned: bool) -> Outcome:
    """Derive the outcome of a job that should return ``objectives`` numbers.

    With ``pruned`` the trial counts as pruned, whether its job returned or raised.
    """
    if pruned:
        return Outcome(TrialState.PRUNED)
    if job.status is JobStatus.COMPLETED:
        return completed_outcome(job.return_value, objectives)
    try:
        with redirect_stderr(io.StringIO()):  # reading an error makes Hydra print it
            job.return_value  # noqa: B018
    except optuna.TrialPruned:
        return Outcome(TrialState.PRUNED)
    except (Exception, KeyboardInterrupt) as error:
        return failed_outcome(error)
    raise AssertionError("a failed job returned a value")


def failed_outcome(error: BaseException) -> Outcome:
    """The outcome of a job that raised ``error``."""
    return Outcome(TrialState.FAIL, failure=failure_of(error))


def completed_outcome(value: Any, objectives: int) -> Outcome:
    """The outcome of a job that returned ``value``, which should be ``objectives`` numbers."""
    if value is None:
        message = "the job returned no score; hydra/sweeper=basic runs jobs without one"
        return _unusable("error", message)
    numbers = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    try:
        values = tuple(float(number) for number in numbers)
    except (TypeError, ValueError):
        return _unusable("error", f"the job returned {value!r}, which is not a number")
    if len(values) != objectives:
        message = f"the job returned {len(values)} numbers for {objectives} objectives"
        return _unusable("error", message)
    if any(math.isnan(number) for number in values):
        return _unusable(DIVERGED, "the objective is not a number")
    return Outcome(TrialState.COMPLETE, values)


def apply_constraints(
    limits: Sequence[Constraint], trial: FrozenTrial, outcome: Outcome, jobs: Sequence[str]
) -> Outcome:
    """Hold the mean of what a trial's jobs measured against the study's limits.

    In a finished trial each has measured all that is limited, or the trial failed.
    """
    violations = {}
    for one in limits:
        keys = [measured_attribute(job, one.name) for job in jobs]
        told = [trial.user_attrs[key] for key in keys if key in trial.user_attrs]
        mean = sum(told) / len(told) if told else math.nan  # opposite infinities have none
        if not math.isnan(mean):
            violations[one.name] = one.violation(mean)
        is_whole = len(told) == len(jobs)
        if outcome.state is TrialState.COMPLETE and (not is_whole or math.isnan(mean)):
            wrong = "measured no mean of" if is_whole else "did not measure"
            message = f"the job {wrong} {one.name}, which hydra.sweeper.constraints limits"
            return _unusable("error", message)
    return replace(outcome, violations=violations)


def _unusable(reason: str, message: str) -> Outcome:
    return Outcome(TrialState.FAIL, failure=Failure(reason, message))
