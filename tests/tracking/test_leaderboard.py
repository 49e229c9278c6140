import json
import time
from datetime import timedelta

import mlflow
import pytest
from optuna.trial import TrialState

from harnest.core.errors import TrackingError
from harnest.study.events import TrialInfo
from harnest.tracking import study_summary
from harnest.tracking.leaderboard import leaderboard
from harnest.tracking.run_writer import OBJECTIVE, RunWriter


class Writer:
    """Writes runs and studies as harnest does, without training."""

    def __init__(self, client):
        self.client = client
        self.experiment = client.create_experiment("harnest")

    def run(self, name, params=(), score=None, state="FINISHED", tags=(), steps=3):
        made = self.client.create_run(self.experiment, run_name=name, tags=dict(tags))
        identity = made.info.run_id
        for key, value in dict(params).items():
            self.client.log_param(identity, key, value)
        if score is not None:
            self.client.log_metric(identity, OBJECTIVE, score)
        self.client.log_metric(identity, "steps", steps)
        self.client.set_terminated(identity, state)
        return identity

    def study(self, name, trials, mode="max", identity=None, fixed=None):
        """``trials`` are (parameters, score, state, more tags); ``fixed`` are other parameters."""
        fixed = {"objective.mode": mode, "fixed": "same"} if fixed is None else fixed
        tags = {"study": name, "study.identity": identity or f"{name}-identity"}
        children = [
            self.run(
                f"trial-{number}",
                params | fixed,
                score,
                state,
                {**tags, "trial": str(number), **more},
            )
            for number, (params, score, state, more) in enumerate(trials)
        ]
        searched = {f"search.{key}": "..." for params, *_ in trials for key in params}
        scores = [
            (score if mode == "max" else -score, child)
            for (_, score, state, _), child in zip(trials, children, strict=True)
            if state == "FINISHED"
        ]
        directions = {"directions": "maximize" if mode == "max" else "minimize"}
        best = {"best.run_id": max(scores)[1]} if scores else {}
        directory = {"directory": f"/somewhere/multirun/{name}"}
        parent = self.run(name, searched | directions, tags=tags | best | directory)
        for child in children:
            self.client.set_tag(child, "mlflow.parentRunId", parent)
        return children


@pytest.fixture
def writer(client):
    return Writer(client)


TRIALS = [
    ({"lr": 0.1}, 0.5, "FINISHED", {}),
    ({"lr": 0.2}, None, "FAILED", {"reason": "oom"}),
    ({"lr": 0.3}, 0.9, "KILLED", {"pruned": "at epoch 1"}),
    ({"lr": 0.4}, 0.7, "FINISHED", {}),
    ({"lr": 0.5}, None, "KILLED", {"reason": "interrupted"}),
    ({"lr": 0.6}, 0.2, "KILLED", {"pruned": "at epoch 0"}),
]


def names(board):
    return [row.name for row in board.rows]


def test_a_study_gives_its_trials_finished_ones_first(store, writer):
    writer.study("quick", TRIALS)
    board = leaderboard(store, "harnest", ["quick"])
    rows = board.rows
    assert names(board) == ["trial-3", "trial-0", "trial-2", "trial-5", "trial-1", "trial-4"]
    assert [row.state for row in rows[:4]] == ["FINISHED", "FINISHED", "PRUNED", "PRUNED"]
    assert rows[0].params == {"lr": "0.4"}
    assert (rows[0].scores, rows[0].steps, rows[4].scores) == ((0.7,), 3, ())
    assert rows[0].seconds >= 0


def test_a_study_that_minimises_is_ranked_the_other_way(store, writer):
    writer.study("low", TRIALS, mode="min")
    assert names(leaderboard(store, "harnest", ["low"]))[:2] == ["trial-0", "trial-3"]


@pytest.mark.parametrize("name", ["quick", "/somewhere/multirun/quick"])
def test_a_study_is_found_by_name_and_directory(store, writer, name):
    children = writer.study("quick", TRIALS)
    rows = leaderboard(store, "harnest", [name]).rows
    assert {row.run_id for row in rows} == set(children)


def test_several_studies_give_their_best_trials(store, writer):
    first = writer.study("one", TRIALS)
    second = writer.study("two", [({"lr": 0.1, "size": 8}, 0.8, "FINISHED", {})])
    rows = leaderboard(store, "harnest", ["one", "two"]).rows
    assert [(row.name, row.run_id) for row in rows] == [
        ("two/trial-0", second[0]),
        ("one/trial-3", first[3]),
    ]
    # What all have and what differs: neither size nor what is fixed.
    assert [row.params for row in rows] == [{"lr": "0.1"}, {"lr": "0.4"}]


def test_another_applications_studies_are_compared_as_each_was_asked(store, writer):
    for name, score in {"good": 1, "bad": 50}.items():
        trials = [({"x": x}, score + x, "FINISHED", {}) for x in (0, 1)]
        children = writer.study(name, trials, mode="min", fixed={})
    assert names(leaderboard(store, "harnest", ["good", "bad"])) == ["good/trial-0", "bad/trial-0"]
    rows = leaderboard(store, "harnest", children[::-1]).rows
    assert [row.run_id for row in rows] == children


def test_a_parameter_that_repeats_another_is_not_shown(store, writer):
    writer.run("one", {"lr": 0.1, "copy": 0.1, "seed": 0}, 0.5)
    writer.run("two", {"lr": 0.2, "copy": 0.2, "seed": 0}, 0.6)
    first, second = leaderboard(store, "harnest", []).rows
    assert len(first.params) == len(second.params) == 1


@pytest.mark.parametrize("keys", [("seed", "epochs"), ("epochs", "seed")])
def test_what_varies_with_the_seed_is_no_repetition(store, writer, keys):
    for number in (1, 2):
        writer.run(f"run-{number}", dict.fromkeys(keys, number), number)
    rows = leaderboard(store, "harnest", []).rows
    assert [row.params for row in rows] == [{"seed": n, "epochs": n} for n in ("2", "1")]


def test_without_names_all_studies_and_runs_of_their_own_are_ranked(store, writer):
    writer.study("one", TRIALS)
    writer.run("alone", {"lr": 0.9, "logger.save_dir": "/a"}, 0.95)
    writer.run("again", {"lr": 0.9, "logger.save_dir": "/b"}, 0.1)
    rows = leaderboard(store, "harnest", []).rows
    assert [row.name for row in rows] == ["alone", "one/trial-3", "again"]
    assert "logger.save_dir" not in rows[0].params
    assert rows[0].params["lr"] == "0.9"


def test_runs_and_single_trials_can_be_compared(store, writer):
    children = writer.study("one", TRIALS)
    alone = writer.run("alone", {"lr": 0.9}, 0.6)
    rows = leaderboard(store, "harnest", [children[0], "alone"]).rows
    assert [row.run_id for row in rows] == [alone, children[0]]


def test_the_newest_of_a_name_is_meant(store, writer):
    writer.study("quick", TRIALS, identity="old")
    time.sleep(0.002)  # MLflow counts in milliseconds
    newer = writer.study("quick", TRIALS[:1], identity="new")
    rows = leaderboard(store, "harnest", ["quick"]).rows
    assert [row.run_id for row in rows] == newer


def test_a_study_without_a_finished_trial_stands_for_itself(store, writer):
    writer.study("none", TRIALS[1:2])
    writer.run("alone", {}, 0.6)
    rows = leaderboard(store, "harnest", ["none", "alone"]).rows
    assert [(row.name, row.scores) for row in rows] == [("alone", (0.6,)), ("none", ())]


def test_an_unknown_name_is_told_with_those_there_are(store, writer):
    writer.study("quick", TRIALS)
    writer.run("alone", {}, 0.6)
    with pytest.raises(TrackingError, match="no study or run is called slow") as told:
        leaderboard(store, "harnest", ["quick", "slow"])
    assert "quick" in str(told.value)
    assert "alone" in str(told.value)


def test_an_unknown_experiment_is_told(store):
    with pytest.raises(TrackingError, match="no experiment nothing"):
        leaderboard(store, "nothing", [])


def test_an_experiment_without_runs_is_an_empty_table(store, writer):
    assert leaderboard(store, "harnest", []).rows == []


def test_a_study_that_has_ended_is_read_from_its_table(store, writer, client):
    children = writer.study("quick", TRIALS)
    parent = client.search_runs([writer.experiment], "tags.trial IS NULL")[0].info.run_id
    run = leaderboard(store, "harnest", ["quick"])
    columns = ["trial", "state", "value", "steps", "seconds", "reason", "run_id", "lr"]
    lines = [
        [0, "COMPLETE", 0.5, 3, 1.5, "", children[0], 0.1],
        [1, "FAIL", None, 0, 1.5, "oom", children[1], 0.2],
        [2, "PRUNED", 0.9, 2, 1.5, "", children[2], 0.3],
        [3, "COMPLETE", 0.7, 3, 1.5, "", children[3], 0.4],
        [4, "FAIL", None, 0, 1.5, "interrupted", children[4], 0.5],
        [5, "PRUNED", 0.2, 1, 1.5, "", children[5], 0.6],
    ]
    client.log_text(parent, json.dumps({"columns": columns, "data": lines}), "trials.json")
    table = leaderboard(store, "harnest", ["quick"])
    for part in ("name", "run_id", "state", "scores", "params"):
        assert [getattr(r, part) for r in table.rows] == [getattr(r, part) for r in run.rows]
    assert table.rows[0].seconds == 1.5

    client.update_run(parent, status="RUNNING")  # it goes on: the table is of yesterday
    client.delete_run(children[3])
    assert len(leaderboard(store, "harnest", ["quick"]).rows) == 5


def test_seeds_are_one_row_with_mean_and_deviation(store, writer):
    scores = [({"lr": lr, "seed": s}, lr + s / 10, "FINISHED", {}) for lr in (1, 2) for s in (0, 1)]
    writer.study("seeds", [*scores, ({"lr": 1, "seed": 2}, 0.1, "KILLED", {"pruned": "early"})])
    best, second, pruned = leaderboard(store, "harnest", ["seeds"]).rows
    assert best.params == {"lr": "2", "seed": "0, 1"}
    assert (best.scores, best.seeds) == ((pytest.approx(2.05),), 2)
    assert best.deviations == (pytest.approx(0.0707, abs=1e-4),)
    assert (second.name, second.seeds) == ("trial-0 and 1 more", 2)
    assert (pruned.name, pruned.seeds) == ("trial-4", 1)


def test_a_seed_that_is_there_twice_counts_once(store, writer):
    trials = [({"lr": 0.1, "seed": seed}, 0.5 + seed, "FINISHED", {}) for seed in (0, 1)]
    writer.study("two", trials)
    again = writer.run("again", {"lr": 0.1, "seed": 1, "objective.mode": "max"}, 1.5)
    other = writer.run("other", {"lr": 0.1, "seed": 0, "objective.mode": "max"}, 0.5)
    names = ["two", again, other, other]
    rows = leaderboard(store, "harnest", names).rows
    told = {(row.params["seed"], row.seeds, row.scores) for row in rows}
    assert told == {("0, 1", 2, (1.0,)), ("1", 1, (1.5,)), ("0", 1, (0.5,))}


def test_runs_that_differ_in_their_seed_alone_are_one_row(store, writer):
    for seed in range(3):
        writer.run(f"run-{seed}", {"lr": 0.1, "seed": seed}, 0.5 + seed / 10)
    (row,) = leaderboard(store, "harnest", []).rows
    assert (row.seeds, row.scores, row.deviations) == (
        3,
        (pytest.approx(0.6),),
        (pytest.approx(0.1),),
    )


def test_a_run_that_is_named_twice_is_shown_twice(store, writer):
    writer.run("alone", {"lr": 0.1, "seed": 0}, 0.5)
    assert names(leaderboard(store, "harnest", ["alone", "alone"])) == ["alone", "alone"]


def test_refits_are_no_runs_of_their_own(store, writer):
    writer.study("quick", TRIALS)
    tags = {"study": "quick", "mlflow.parentRunId": "whatever", "refit": "trial-3"}
    writer.run("trial-3 seed 1", {"lr": 0.4}, 0.8, tags=tags)
    writer.run("alone", {"lr": 0.9}, 0.1)
    assert names(leaderboard(store, "harnest", [])) == ["quick/trial-3", "alone"]
    assert len(leaderboard(store, "harnest", ["quick"]).rows) == len(TRIALS)


def at_work(client, children, listed, monkeypatch):
    """Make a study one that runs on, with a table that lists its first trials as ``listed``."""
    monkeypatch.setattr(study_summary, "_AT_ONCE", 1)
    parent = client.get_run(client.get_run(children[0]).data.tags["mlflow.parentRunId"])
    client.update_run(parent.info.run_id, "RUNNING")
    facts = [
        TrialInfo(number, {"lr": 0.1}, TrialState.COMPLETE, (score,), {}, timedelta(seconds=1))
        for number, score in listed.items()
    ]
    time.sleep(0.002)
    runs = {number: RunWriter(client, child, owned=True) for number, child in enumerate(children)}
    study_summary.append_ended(RunWriter(client, parent.info.run_id, owned=True), facts, runs)
    time.sleep(0.002)


def test_a_study_at_work_is_its_table_and_what_came_since(store, writer, client, monkeypatch):
    children = writer.study("quick", [({"lr": 0.1}, 0.5, "FINISHED", {})] * 4)
    at_work(client, children, {0: 0.7, 1: 0.6}, monkeypatch)
    client.update_run(children[2], "RUNNING")
    client.set_terminated(children[3])
    scores = {row.name: row.scores for row in leaderboard(store, "harnest", ["quick"]).rows}
    assert scores == {"trial-0": (0.7,), "trial-1": (0.6,), "trial-2": (0.5,), "trial-3": (0.5,)}


def test_a_table_with_a_gap_is_not_believed(store, writer, client, monkeypatch):
    children = writer.study("quick", [({"lr": 0.1}, 0.5, "FINISHED", {})] * 3)
    at_work(client, children, {0: 0.7, 2: 0.6}, monkeypatch)
    scores = {row.name: row.scores for row in leaderboard(store, "harnest", ["quick"]).rows}
    assert scores == {"trial-0": (0.5,), "trial-1": (0.5,), "trial-2": (0.5,)}


def test_a_table_that_is_being_written_is_none(store, writer, client, monkeypatch):
    children = writer.study("quick", [({"lr": 0.1}, 0.5, "FINISHED", {})] * 2)
    at_work(client, children, {0: 0.7, 1: 0.6}, monkeypatch)
    parent = client.get_run(children[0]).data.tags["mlflow.parentRunId"]
    for half in ("", '{"columns": ["tri'):
        client.log_text(parent, half, "trials.json")
        scores = {row.name: row.scores for row in leaderboard(store, "harnest", ["quick"]).rows}
        assert scores == {"trial-0": (0.5,), "trial-1": (0.5,)}


def test_the_report_of_a_study_that_goes_on_is_not_the_one_of_yesterday(store, writer, client):
    children = writer.study("quick", TRIALS[:1])
    parent = client.get_run(children[0]).data.tags["mlflow.parentRunId"]
    study_summary._log_table(
        RunWriter(client, parent, owned=False), study_summary.table([], {}), "trials.json"
    )
    client.log_text(parent, "yesterday", "report.html")
    assert leaderboard(store, "harnest", ["quick"]).report() == "yesterday"
    client.update_run(parent, "RUNNING")
    assert leaderboard(store, "harnest", ["quick"]).report() is None


def test_a_run_that_begins_while_the_others_are_read_doubles_none(store, writer, monkeypatch):
    """It comes first, and pushes the last of a page into the next one."""
    for number in range(4):
        writer.run(f"run-{number}", {"lr": number}, number / 10)
    ask = mlflow.MlflowClient.search_runs

    def asked(client, *arguments, **options):
        page = ask(client, *arguments, **options)
        writer.run("new", {"lr": 9}, 0.9)
        return page

    monkeypatch.setattr("harnest.tracking.run_queries._PAGE", 2)
    monkeypatch.setattr(mlflow.MlflowClient, "search_runs", asked)
    rows = leaderboard(store, "harnest", []).rows
    assert [row.name for row in rows] == ["run-3", "run-2", "run-1", "run-0"]
