"""Outcomes: from what a job returned, raised and measured."""

import math

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from harnest.study.constraints import constraints_of
from harnest.study.outcome import Outcome, apply_constraints, failed_outcome, outcome_of
from harnest.study.trial import measured_attribute
from studies import returned


@pytest.mark.parametrize(
    ("value", "objectives", "values"),
    [(1, 1, (1.0,)), (0.5, 1, (0.5,)), ((1, 2), 2, (1.0, 2.0)), (math.inf, 1, (math.inf,))],
)
def test_numbers_complete_a_trial(value, objectives, values):
    assert outcome_of(returned(value), objectives, False) == Outcome(TrialState.COMPLETE, values)


@pytest.mark.parametrize(
    ("value", "objectives", "reason", "message"),
    [
        (None, 1, "error", "returned no score"),
        ("best", 1, "error", "'best', which is not a number"),
        ((1, 2), 1, "error", "2 numbers for 1 objectives"),
        (math.nan, 1, "nan", "the objective is not a number"),
        (ValueError("no luck"), 1, "error", "no luck"),
        (KeyboardInterrupt(), 1, "interrupted", ""),
        (MemoryError(), 1, "oom", ""),
    ],
)
def test_everything_else_fails_it_with_a_reason(value, objectives, reason, message):
    outcome = outcome_of(returned(value), objectives, False)
    assert outcome.state is TrialState.FAIL
    assert outcome.failure.reason == reason
    assert message in outcome.failure.message


@pytest.mark.parametrize("value", [0.5, ValueError("stopped"), optuna.TrialPruned()])
def test_a_pruned_trial_is_pruned_however_its_job_ended(value):
    assert outcome_of(returned(value), 1, True) == Outcome(TrialState.PRUNED)


def test_optunas_exception_prunes_as_well():
    assert outcome_of(returned(optuna.TrialPruned()), 1, False).state is TrialState.PRUNED


def measured(**values):
    attributes = {measured_attribute(job, "size"): value for job, value in values.items()}
    return create_trial(value=0.0, user_attrs=attributes)


LIMITS = constraints_of({"size": "<= 10"})


@pytest.mark.parametrize(
    ("values", "violation"), [({"a": 8}, -2), ({"a": 12}, 2), ({"a": 8, "b": 14}, 1)]
)
def test_limits_are_for_the_mean_of_what_jobs_measured(values, violation):
    done = Outcome(TrialState.COMPLETE, (0.0,))
    outcome = apply_constraints(LIMITS, measured(**values), done, list(values))
    assert outcome.state is TrialState.COMPLETE
    assert outcome.violations == {LIMITS[0].name: violation}


def test_a_finished_trial_has_measured_what_is_limited():
    done = Outcome(TrialState.COMPLETE, (0.0,))
    outcome = apply_constraints(LIMITS, measured(a=8), done, ["a", "b"])
    assert outcome.state is TrialState.FAIL
    assert "did not measure size" in outcome.failure.message
    without = apply_constraints(LIMITS, measured(a=math.inf, b=-math.inf), done, ["a", "b"])
    assert "measured no mean of size" in without.failure.message


def test_a_failed_trial_keeps_its_failure():
    failed = failed_outcome(ValueError("no luck"))
    assert apply_constraints(LIMITS, measured(a=12), failed, ["a"]).failure == failed.failure
    assert apply_constraints(LIMITS, measured(), failed, ["a"]) == failed
