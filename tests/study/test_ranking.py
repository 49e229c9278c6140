"""The one order of trials: against Optuna's own front, and by hand."""

from datetime import timedelta

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from harnest.study.events import TrialInfo
from harnest.study.ranking import best_numbers, best_trial, pareto_front, rank_trials

SCORES = st.lists(st.tuples(*[st.integers(-3, 3).map(float)] * 2), min_size=1, max_size=12)
DIRECTIONS = st.tuples(*[st.sampled_from(["minimize", "maximize"])] * 2)


def info(number, state=TrialState.COMPLETE, values=(), steps=None, broken=(), is_best=False):
    return TrialInfo(
        number=number,
        params={},
        state=state,
        values=tuple(values),
        steps=steps or {},
        duration=timedelta(seconds=1),
        broken=tuple(broken),
        is_best=is_best,
    )


@given(SCORES, DIRECTIONS)
def test_the_front_is_that_of_optuna(scores, directions):
    study = optuna.create_study(directions=list(directions))
    for values in scores:
        study.add_trial(create_trial(values=list(values)))
    front = pareto_front(dict(enumerate(scores)), directions)
    assert front == {trial.number for trial in study.best_trials}


@given(
    st.lists(st.integers(-3, 3).map(float), min_size=1), st.sampled_from(["minimize", "maximize"])
)
def test_with_one_objective_the_best_is_that_of_optuna(scores, direction):
    study = optuna.create_study(direction=direction)
    for value in scores:
        study.add_trial(create_trial(value=value))
    trials = [info(number, values=[value]) for number, value in enumerate(scores)]
    assert best_trial(trials, [direction]).number == study.best_trial.number


def test_what_breaks_a_constraint_is_never_the_best():
    trials = [info(0, values=[1.0]), info(1, values=[0.0], broken=["size"])]
    assert best_numbers(trials, ["minimize"]) == {0}
    assert best_trial(trials[1:], ["minimize"]) is None


@pytest.mark.parametrize(("direction", "best"), [("minimize", [4, 0]), ("maximize", [0, 4])])
def test_the_order_is_by_state_then_constraint_then_score(direction, best):
    trials = [
        info(0, values=[2.0]),
        info(1, TrialState.FAIL),
        info(2, TrialState.PRUNED, steps={0: 1.0}),
        info(3, values=[1.0 if direction == "minimize" else 3.0], broken=["size"]),
        info(4, values=[1.5]),
        info(5, TrialState.RUNNING),
    ]
    assert [one.number for one in rank_trials(trials, [direction])] == [*best, 3, 2, 5, 1]
