"""Ranking and taking together, whatever the rows."""

import statistics
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harnest.reporting.rows import LeaderboardRow, ranked, without_seeds

PLACES = {"FINISHED": 0, "PRUNED": 1}


def rows(objectives=1, numbers=st.floats(allow_nan=False)):  # noqa: B008
    return st.lists(
        st.builds(
            LeaderboardRow,
            name=st.text("abc", min_size=1, max_size=3),
            run_id=st.uuids().map(str) | st.just(""),  # not known where the store was away
            state=st.sampled_from(["FINISHED", "PRUNED", "FAILED", "KILLED", "RUNNING"]),
            scores=st.just(()) | st.tuples(*[numbers] * objectives),
            steps=st.none() | st.integers(0, 9),
            seconds=st.none() | st.floats(0, 100),
            broken=st.sampled_from([(), (), ("size",)]),
            params=st.fixed_dictionaries(
                {"lr": st.sampled_from("12")}, optional={"seed": st.sampled_from("0123")}
            ),
        ),
        max_size=12,
    )


@given(rows(), st.sampled_from(["minimize", "maximize"]))
def test_rows_are_ranked_by_state_then_score(made, direction):
    in_order = ranked(made, [direction])
    assert sorted(row.run_id for row in in_order) == sorted(row.run_id for row in made)
    places = [PLACES.get(row.state, 2) for row in in_order]
    breaks = [(place, bool(row.broken)) for place, row in zip(places, in_order, strict=True)]
    assert breaks == sorted(breaks)
    for group in product(range(3), [(), ("size",)]):
        alike = zip(in_order, places, strict=True)
        scores = [row.scores for row, place in alike if (place, row.broken) == group]
        known = [score for score in scores if score]
        assert scores[: len(known)] == known  # what has no score comes last
        assert known == sorted(known, reverse=direction == "maximize")


def test_of_equals_the_earlier_trial_comes_first():
    made = [LeaderboardRow(f"trial-{n}", "", "FINISHED", (1.0,), 1, 1.0, {}) for n in (10, 2, 1)]
    in_order = ranked(made, ["maximize"])
    assert [row.name for row in in_order] == ["trial-1", "trial-2", "trial-10"]


@given(rows(2, st.integers(0, 4)))
def test_the_front_is_what_nothing_finished_is_better_than(made):
    in_order = ranked(made, ["maximize", "minimize"])
    finished = [
        row for row in in_order if row.state == "FINISHED" and row.scores and not row.broken
    ]
    for row in in_order:
        beaten = any(
            other.scores != row.scores
            and other.scores[0] >= row.scores[0]
            and other.scores[1] <= row.scores[1]
            for other in finished
            if row.scores
        )
        assert row.is_on_front == (row in finished and not beaten)
    marks = [row.is_on_front for row in in_order]
    assert marks == sorted(marks, reverse=True)


@given(rows(numbers=st.floats(-100, 100)))
def test_seeds_are_taken_together_and_nothing_else_is(made):
    together = without_seeds(made)
    assert sum(row.seeds for row in together) == len(made)
    for row in together:
        if row.seeds == 1:
            assert row in made
            continue
        replicates = [
            one
            for one in made
            if one.state == "FINISHED"
            and one.scores
            and "seed" in one.params
            and one.broken == row.broken
            and one.params["lr"] == row.params["lr"]
        ]
        assert row.seeds == len(replicates)
        scores = [one.scores[0] for one in replicates]
        assert row.scores[0] == pytest.approx(statistics.fmean(scores), abs=1e-9)
        assert row.deviations[0] == pytest.approx(statistics.stdev(scores), abs=1e-9)
        assert row.params["seed"] == ", ".join(sorted(one.params["seed"] for one in replicates))
