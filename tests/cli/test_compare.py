"""From recorded studies and runs to a leaderboard, in three formats."""

import csv
import io
import shutil

import mlflow
import pytest

from commands import warm

pytestmark = [
    pytest.mark.xdist_group("workplace"),
    pytest.mark.filterwarnings("ignore:.*noload.*"),
]


def rows_of(workplace, *names):
    """The leaderboard as a spreadsheet would read it."""
    answer = warm("compare", *names, "--format", "csv", folder=workplace.folder)
    assert (answer.code, answer.err) == (0, ""), answer
    return list(csv.DictReader(io.StringIO(answer.out)))


@pytest.fixture(scope="module")
def trials(workplace):
    """The objective of each trial as MLflow has it."""
    client = mlflow.MlflowClient(f"sqlite:///{workplace.folder}/mlflow.db")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, "tags.trial != ''")
    return {run.info.run_name: run.data.metrics["objective"] for run in runs}


@pytest.mark.parametrize("name", ["pair", "multirun/pair"])
def test_a_studys_trials_are_ranked(workplace, trials, name):
    rows = rows_of(workplace, name)
    assert [row["run"] for row in rows] == sorted(trials, key=trials.get, reverse=True)
    for row in rows:
        assert float(row["score"]) == trials[row["run"]]  # every digit
        assert row["state"] == "FINISHED"
        assert row["epochs"] == "2"
        assert float(row["seconds"]) > 0
        assert len(row["run id"]) == 32
    rates = {row["run"]: float(row["optimizer.lr"]) for row in rows}
    assert rates == {"trial-0": 1e-4, "trial-1": 1e-2}


def test_without_names_all_studies_and_runs_are_compared(workplace, trials):
    rows = rows_of(workplace)
    best = max(trials, key=trials.get)
    assert {row["run"] for row in rows} >= {f"pair/{best}"}
    assert len(rows) == 2
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert {float(row["optimizer.lr"]) for row in rows} >= {3e-3}


def test_a_run_and_a_trial_side_by_side(workplace):
    rows = rows_of(workplace, str(workplace.run), "multirun/pair/0")
    assert {float(row["optimizer.lr"]) for row in rows} == {3e-3, 1e-4}


def test_a_table_for_a_page(workplace):
    answer = warm("compare", "pair", "--format", "markdown", folder=workplace.folder)
    assert (answer.code, answer.err) == (0, "")
    head, rule, *lines = answer.out.splitlines()
    cells = [cell.strip() for cell in head.strip("|").split("|")]
    assert cells[:5] == ["run", "state", "score", "epochs", "seconds"]
    assert "optimizer.lr" in cells
    assert rule == "|" + " --- |" * len(cells)
    assert len(lines) == 2
    assert all(line.count("|") == len(cells) + 1 for line in lines)


def test_a_table_is_never_cut(workplace, trials):
    answer = warm("compare", "pair", folder=workplace.folder, COLUMNS="30")
    assert (answer.code, answer.err) == (0, "")
    head, *lines = answer.out.splitlines()
    assert head.split()[:2] == ["run", "state"]
    assert len(lines) == 2
    for line in lines:
        assert any(f"{score:.4f}" in line for score in trials.values())
        assert len(line.split()[-1]) == 32  # the whole id


def test_only_fractions_are_shortened(workplace, tmp_path):
    shutil.copy(workplace.folder / "mlflow.db", tmp_path)  # which others count the runs of
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    group = client.create_experiment("digits")
    ones = {"day": "20240101", "kind": "12e34567", "rate": "0.000123456"}
    others = {"day": "20240102", "kind": "12e34568", "rate": "0.000234567"}
    for params in (ones, others):
        run_id = client.create_run(group).info.run_id
        for key, value in params.items():
            client.log_param(run_id, key, value)
    answer = warm("compare", "--experiment", "digits", folder=tmp_path)
    assert (answer.code, answer.err) == (0, "")
    _, *lines = answer.out.splitlines()
    shown = {tuple(line.split()[2:-1]) for line in lines}
    assert shown == {
        ("20240101", "12e34567", "0.0001235"),
        ("20240102", "12e34568", "0.0002346"),
    }


def test_a_name_that_is_not_there(workplace):
    line = warm("compare", "nowhere", folder=workplace.folder).line
    assert "nowhere" in line
    assert "pair" in line  # what there is
    other = warm("compare", "--experiment", "nowhere", folder=workplace.folder).line
    assert "nowhere" in other


def test_the_report_of_a_study_is_what_it_wrote_at_its_end(workplace, trials):
    answer = warm("compare", "pair", "--format", "html", folder=workplace.folder)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("<!DOCTYPE html>")
    assert "Study pair" in answer.out
    assert "<h2>Learning curves</h2>" in answer.out
    assert "harnest-promote multirun/pair" in answer.out
    assert all(f"{score:.4f}" in answer.out for score in trials.values())


def test_a_page_of_several_is_a_table(workplace):
    answer = warm("compare", "--format", "html", folder=workplace.folder)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.count("<tr") == 3
    assert len(answer.out) < 20_000  # nothing is drawn, and no library for it is there


def test_the_beginning_of_an_id_names_a_run(workplace):
    run = rows_of(workplace, "pair")[0]["run id"]
    assert [row["run id"] for row in rows_of(workplace, run[:8])] == [run]
