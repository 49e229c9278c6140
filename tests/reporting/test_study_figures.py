"""What a study's figures show, however few or strange its trials are."""

import json
import math
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.trial import TrialState

from harnest.reporting.study_figures import figures, to_optuna_study
from harnest.study.events import TrialInfo

SPACE = {
    key: json.loads(distribution_to_json(one))
    for key, one in {
        "lr": FloatDistribution(1e-4, 1e-1, log=True),
        "size": IntDistribution(8, 64, step=8),
        "kind": CategoricalDistribution(("a", "b")),
    }.items()
}
ONE = ["History", "Parameters side by side", "One parameter at a time"]


def finished(number, *values, steps=3, **params):
    params = {"lr": 1e-3, "size": 16, "kind": "a"} | params
    took = {step: values[0] * step for step in range(steps)} if len(values) == 1 else {}
    return TrialInfo(
        number, params, TrialState.COMPLETE, values, took, timedelta(seconds=number + 1)
    )


def ended(number, state, steps=2):
    return TrialInfo(number, {"lr": 1e-2}, state, (), dict.fromkeys(range(steps), 0.1))


def titles(trials, directions=("maximize",), names=("score",)):
    study = to_optuna_study(trials, directions, SPACE)
    return [title for title, _ in figures(study, names)]


def test_a_study_has_all_its_figures():
    trials = [finished(n, 0.1 * n, lr=10.0**-n, size=8 * n) for n in range(1, 4)]
    assert titles(trials) == [
        "History",
        "Importance of parameters",
        *ONE[1:],
        "Learning curves",
    ]


@pytest.mark.parametrize(
    ("trials", "drawn"),
    [
        ([], []),
        ([ended(0, TrialState.RUNNING)], []),
        ([ended(0, TrialState.FAIL, steps=0)], []),
        ([ended(n, TrialState.PRUNED) for n in range(3)], ["Learning curves"]),
        ([finished(0, 0.5)], [*ONE, "Learning curves"]),
        ([finished(0, 0.5), finished(1, 0.5)], [*ONE, "Learning curves"]),  # no importance
        ([finished(0, 0.5, steps=0)], ONE),
    ],
    ids=["none", "running", "failed", "all pruned", "one", "equals", "no steps"],
)
def test_what_cannot_be_drawn_is_left_out(trials, drawn):
    assert titles(trials) == drawn


def test_learning_curves_are_one_trace_per_kind_with_gaps_between_trials():
    trials = [finished(0, 0.5), finished(1, 0.9), ended(2, TrialState.PRUNED)]
    (curves,) = [
        figure
        for title, figure in figures(to_optuna_study(trials, ["maximize"], SPACE), ["score"])
        if title == "Learning curves"
    ]
    by_name = {trace.name: trace for trace in curves.data}
    assert by_name["pruned or failed"].x == (0, 1, None)
    assert by_name["finished"].x == (0, 1, 2, None, 0, 1, 2, None)
    assert set(by_name["best"].text) == {"trial 1"}
    assert curves.layout.yaxis.title.text == "score"


def drawn_with_a_pruned_one(broken=()):
    trials = [
        finished(0, 0.5, lr=1e-2),
        finished(1, 0.9, kind="b"),
        TrialInfo(
            2, {"lr": 1e-3, "size": 64, "kind": "b"}, TrialState.PRUNED, (), {0: 0.6, 1: 0.2}
        ),
        TrialInfo(3, {"lr": 1e-3, "size": 32, "kind": "a"}, TrialState.PRUNED),  # said nothing
        replace(finished(4, 0.7, size=24), broken=broken),
    ]
    return dict(figures(to_optuna_study(trials, ["maximize"], SPACE), ["val/loss"]))


PRUNED = "pruned, at its last reported value"


def test_pruned_trials_are_shown_at_their_last_value_and_told_apart():
    drawn = drawn_with_a_pruned_one()
    (history,) = [trace for trace in drawn["History"].data if trace.name == PRUNED]
    assert (history.x, history.y, history.marker.symbol) == ((2,), (0.2,), "x-thin-open")
    (best,) = [trace for trace in drawn["History"].data if trace.name == "Best Value"]
    assert max(best.y) == 0.9
    assert drawn["History"].layout.yaxis.title.text == "val/loss"
    slices = drawn["One parameter at a time"]
    places = {
        axis.title.text: axis.plotly_name.replace("axis", "") for axis in slices.select_xaxes()
    }
    of = {trace.xaxis: trace for trace in slices.data if trace.name == PRUNED}
    assert {key: of[place].x for key, place in places.items()} == {
        "kind": ("'b'",),
        "lr": (1e-3,),
        "size": (64,),
    }
    assert {trace.y for trace in of.values()} == {(0.2,)}
    assert [trace.showlegend for trace in of.values()].count(True) == 1


@pytest.mark.parametrize("broken", [(), ("size",)])
def test_lines_of_pruned_trials_are_dashed(broken):
    lines = drawn_with_a_pruned_one(broken)["Parameters side by side"].data
    dashes = {
        line.customdata[0][1]: line.line.dash for line in lines if line.customdata is not None
    }
    assert dashes == {
        "0.5": "solid",
        "0.9": "solid",
        "0.2": "dash",
        "0.7": "dot" if broken else "solid",
    }
    assert PRUNED in {line.name for line in lines if line.showlegend}


def test_several_objectives_have_a_front_and_figures_of_each():
    trials = [finished(n, 0.1 * n, 1.0 - n, lr=10.0**-n) for n in range(1, 4)]
    both = titles(trials, ("maximize", "minimize"), ("f1", "size"))
    assert both[0] == "Pareto front"
    assert "History of f1" in both
    assert "Importance of parameters of size" in both
    four = [finished(n, *([0.1 * n] * 4)) for n in range(1, 3)]
    assert "Pareto front" not in titles(four, ("maximize",) * 4, "abcd")
    assert titles([], ("maximize", "minimize"), ("f1", "size")) == []


def test_what_was_tried_first_may_lie_outside_of_the_search():
    trials = [finished(0, 0.5, lr=1.0, size=100, kind="c"), finished(1, 0.6, size=9)]
    study = to_optuna_study(trials, ["maximize"], SPACE)
    assert [trial.params for trial in study.trials] == [trial.params for trial in trials]
    assert set(ONE) <= set(titles(trials))


def test_the_best_one_keeps_to_the_constraints():
    trials = [replace(finished(0, 0.9), broken=("size",)), finished(1, 0.5), finished(2, 0.4)]
    drawn = dict(figures(to_optuna_study(trials, ["maximize"], SPACE), ["score"]))
    curves = {trace.name: trace for trace in drawn["Learning curves"].data}
    assert set(curves["best"].text) == {"trial 1"}
    history = {trace.name: trace for trace in drawn["History"].data}
    assert list(history["Best Value"].y)[1:] == [0.5, 0.5]


@pytest.mark.parametrize("off", [0, 0.0])
def test_what_is_searched_by_its_logarithm_may_be_off_under_another_condition(off):
    single = json.loads(distribution_to_json(CategoricalDistribution((off,))))
    space = SPACE | {"lr": {"kind=a": SPACE["lr"], "kind=b": single}}
    trials = [finished(0, 0.5), finished(1, 0.6, lr=off, kind="b")]
    drawn = dict(figures(to_optuna_study(trials, ["maximize"], space), ["score"]))
    assert set(ONE) <= set(drawn)


def test_trials_need_not_have_every_parameter():
    other = TrialInfo(1, {"lr": 1e-2}, TrialState.COMPLETE, (0.7,))
    assert "History" in titles([finished(0, 0.5), other])


scores = st.floats(allow_nan=False) | st.sampled_from([math.inf, -math.inf])


@settings(max_examples=15)
@given(st.lists(scores, min_size=1, max_size=4), st.sampled_from(["minimize", "maximize"]))
def test_any_values_can_be_drawn(values, direction):
    trials = [finished(n, value, steps=0, lr=10.0 ** -(n + 1)) for n, value in enumerate(values)]
    for _, figure in figures(to_optuna_study(trials, [direction], SPACE), ["score"]):
        figure.to_json()
