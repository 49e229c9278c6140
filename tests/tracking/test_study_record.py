"""Studies of an application that is none of harnest's, as MLflow shows them afterwards."""

import json
import os
import pickle
import re
import shutil
import signal
import subprocess
from pathlib import Path

import mlflow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from foreign_bench import files_of, is_written, wait_until
from harnest.core.errors import TrackingError
from harnest.reporting.report import as_table
from harnest.study.events import StudyInfo, TrialInfo
from harnest.study.ranking import best_trial
from harnest.tracking.find_runs import find_run
from harnest.tracking.leaderboard import leaderboard
from harnest.tracking.outbox.sync import sync
from harnest.tracking.study_record import StudyRecord, view_command
from harnest.training.promotion import winner_of
from limits import HANG_TIMEOUT

RECORDED = "callbacks@hydra.callbacks=mlflow"


class Record:
    """What MLflow holds of the one study in a store."""

    def __init__(self, client):
        self.client = client
        experiment = client.get_experiment_by_name("foreign")
        runs = client.search_runs([experiment.experiment_id])
        (self.parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
        self.children = {int(run.data.tags["trial"]): run for run in runs if run is not self.parent}
        assert len(self.children) == len(runs) - 1  # no number twice

    @property
    def states(self):
        return [self.children[number].info.status for number in sorted(self.children)]

    def tags(self, number):
        return self.children[number].data.tags

    def artifacts(self, run):
        return {one.path for one in self.client.list_artifacts(run.info.run_id)}

    def text(self, run, name):
        return Path(self.client.download_artifacts(run.info.run_id, name)).read_text()

    def table(self):
        """The table of all trials, as MLflow's own function reads it."""
        info = self.parent.info
        return self.client.load_table(info.experiment_id, "trials.json", [info.run_id])


@pytest.fixture
def study(bench, store, client):
    """Sweep with a record; gives what MLflow holds then."""

    def sweep(*arguments, **options):
        bench.sweep(*arguments, RECORDED, **options)
        return Record(client)

    return sweep


def test_a_finished_study_is_a_parent_with_a_child_per_trial(study, bench):
    record = study("x=3,1,2", "network=large", "steps=2")
    assert record.parent.info.run_name == "s"
    assert record.parent.info.status == "FINISHED"
    assert record.states == ["FINISHED"] * 3
    for number, trial in enumerate(bench.trials()):
        child = record.children[number]
        assert child.info.run_name == f"trial-{number}"
        assert child.data.tags["mlflow.parentRunId"] == record.parent.info.run_id
        assert child.data.metrics["objective"] == trial.value
        assert child.data.metrics["steps"] == 2
        assert child.data.params["x"] == str(trial.params["x"])
        assert child.info.end_time is not None
    tags = record.parent.data.tags
    assert tags["best.trial"] == "trial-1"
    assert tags["best.run_id"] == record.children[1].info.run_id
    assert json.loads(tags["best.params"]) == {"x": 1}
    assert record.parent.data.metrics["best_value"] == 1.0
    assert (tags["trials.complete"], tags["trials.fail"], tags["budget"]) == ("3", "0", "3")
    assert tags["directory"] == str(bench.folder / "multirun/s")
    assert record.parent.data.params["fixed"] == f"network=large steps=2 {RECORDED}"
    assert '"choices": [3, 1, 2]' in record.parent.data.params["search.x"]
    assert {"trials.json", "history.png", "report.html"} <= record.artifacts(record.parent)


def test_the_parent_says_what_was_asked(study, bench):
    record = study(
        "x=interval(1,3)",
        "hydra.sweeper.n_trials=2",
        "hydra/sweeper/sampler=random",
        "hydra.sweeper.sampler.seed=7",
        "hydra/sweeper/pruner=threshold",
        "hydra.sweeper.pruner.upper=99",
    )
    tags = record.parent.data.tags
    assert tags["sampler"] == "RandomSampler(seed=7)"
    assert tags["pruner"] == "ThresholdPruner(upper=99)"
    assert (tags["direction"], tags["budget"]) == ("minimize", "2")
    assert "-m hydra.sweeper.study=s" in tags["command"]


def test_a_studys_directory_is_where_it_is_however_it_was_named(bench, store, client):
    bench.sweep("x=1", RECORDED, "hydra.sweep.dir=multirun/../elsewhere")
    group = client.get_experiment_by_name("foreign").experiment_id
    parent = find_run(client, group, str(bench.folder / "elsewhere"))
    assert parent.data.tags["directory"] == str(bench.folder / "elsewhere")


def test_each_trial_says_which_code_the_study_was_started_with(study, bench):
    me = ("-c", "user.name=me", "-c", "user.email=me@example.org")
    for line in (("init", "-q"), (*me, "commit", "-q", "--allow-empty", "-m", "one")):
        subprocess.run(["git", *line], cwd=bench.folder, check=True)
    record = study("x=1,2")
    told = record.parent.data.tags
    assert told["git.state"] == "clean"
    for number in range(2):
        for key in ("mlflow.source.git.commit", "mlflow.source.name", "git.state"):
            assert record.tags(number)[key] == told[key]


def test_the_best_value_is_followed_by_the_number_of_ended_trials(study, client):
    study("x=3,4,2,1", "do=fail@2", "hydra.sweeper.n_trials=2")
    record = study("x=3,4,2,1", "do=fail@2")
    run_id = record.parent.info.run_id
    values = {one.step: one.value for one in client.get_metric_history(run_id, "best_value")}
    assert values == {1: 9, 2: 9, 3: 9, 4: 1}


def test_counts_and_best_value_are_there_while_the_study_runs(hanging, client):
    wait_until(lambda: Record(client).parent.data.metrics.get("best_value") == 1, "its first end")
    tags = Record(client).parent.data.tags
    assert tags["trials.complete"] == "1"


def test_the_parents_description_links_its_best_trial(study):
    record = study("x=3,1,2")
    note = record.parent.data.tags["mlflow.note.content"]
    info = record.children[1].info
    assert f"[trial-1](#/experiments/{info.experiment_id}/runs/{info.run_id})" in note
    assert "3 trials: 3 finished" in note
    assert "objective = 1.0000, with x = `1`" in note


def test_the_report_holds_every_trial_and_figure_and_needs_no_network(study):
    record = study("x=3,1,2", "do=fail@2", "steps=2")
    report = record.text(record.parent, "report.html")
    for text in (
        "Study s",
        "3 trials: 2 finished, 1 failed, of a budget of 3",
        "trial-0",
        "trial-1",
        "trial-2",
        "<h2>History</h2>",
        "<h2>Importance of parameters</h2>",
        "<h2>Parameters side by side</h2>",
        "<h2>One parameter at a time</h2>",
        "<h2>Learning curves</h2>",
    ):
        assert text in report, text
    assert report.index("<table>") < report.index("<h2>History")
    assert "harnest-promote" not in report  # these jobs leave no model
    assert report.count("<script>/**\n* plotly.js v") == 1
    loaded = re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"'](.*?)[\"']", report)
    assert [one for one in loaded if not one.startswith("data:")] == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["x=1,2", "do=fail"], "2 trials: 2 failed"),
        (["x=1,2", "do=prune@0", "hydra.sweeper.n_trials=1"], "1 pruned, 1 waiting"),
    ],
)
def test_a_study_without_a_finished_trial_has_a_report(study, arguments, told):
    record = study(*arguments, code=2)
    assert told in record.text(record.parent, "report.html")
    assert "best.trial" not in record.parent.data.tags


def test_the_table_holds_each_trial_once_whatever_the_sessions(study, bench):
    study("x=3,1,2", "hydra.sweeper.n_trials=2")
    record = study("x=3,1,2")
    table = record.table()
    assert list(table["trial"]) == [0, 1, 2]
    assert list(table["state"]) == ["COMPLETE"] * 3
    assert list(table["value"]) == [9, 1, 4]
    assert list(table["params.x"]) == [3, 1, 2]
    assert list(table["run_id"]) == [record.children[n].info.run_id for n in range(3)]
    assert record.parent.data.tags["trials.waiting"] == "0"  # it was 1 after the first session


def test_every_end_has_its_state(study):
    record = study("x=1,2,3", "do=fail@1")
    assert record.states == ["FINISHED", "FAILED", "FINISHED"]
    assert record.tags(1)["reason"] == "error"
    assert record.tags(1)["message"] == "ValueError: no luck with x=2"
    assert "no luck with x=2\nand more of it" in record.text(record.children[1], "traceback.txt")
    assert record.children[1].data.params["x"] == "2"
    assert "foreign_app.log" in record.artifacts(record.children[1])
    assert "traceback.txt" not in record.artifacts(record.children[0])
    assert record.parent.info.status == "FINISHED"
    assert record.parent.data.tags["trials.fail"] == "1"


def test_a_job_without_a_number_failed(study):
    record = study("x=1,2", "do=nan@0")
    assert record.states == ["FAILED", "FINISHED"]
    assert record.tags(0)["reason"] == "nan"


def test_a_pruned_trial_is_killed_and_says_where(study):
    record = study(
        "x=1,3",
        "steps=4",
        "hydra/sweeper/pruner=threshold",
        "hydra.sweeper.pruner.upper=2",
    )
    assert record.states == ["FINISHED", "KILLED"]
    assert record.tags(1)["pruned"] == "at epoch 0"
    assert "reason" not in record.tags(1)
    assert record.children[1].data.metrics["steps"] == 1
    assert record.parent.data.tags["trials.pruned"] == "1"


@pytest.mark.parametrize(("steps", "told"), [("steps=3", "at epoch 2"), ("steps=0", "by the job")])
def test_a_trial_that_prunes_itself_is_killed_too(study, steps, told):
    record = study("x=1,2", "do=prune@1", steps)
    assert record.states == ["FINISHED", "KILLED"]
    assert record.tags(1)["pruned"] == told


def test_a_study_without_a_score_still_ends(study):
    record = study("x=1,2", "do=fail", code=2)
    assert record.states == ["FAILED", "FAILED"]
    assert record.parent.info.status == "FINISHED"
    assert "best.trial" not in record.parent.data.tags


def test_several_objectives_are_recorded_by_number(study):
    record = study("x=1,2", "do=pair", "hydra.sweeper.direction=[minimize,maximize]")
    assert record.children[1].data.metrics == {"objective_0": 4, "objective_1": -2, "steps": 0}
    parent = record.parent
    assert parent.data.params["directions"] == "minimize, maximize"
    assert (parent.data.metrics["best_value_0"], parent.data.metrics["best_value_1"]) == (1, -1)
    assert "best.trial" not in parent.data.tags
    assert {"value_0", "value_1"} <= set(record.table())
    report = record.text(parent, "report.html")
    assert "Pareto front" in report
    assert "FRONT" in report


def test_objectives_have_their_names_in_optuna_and_in_the_report(study, bench):
    study("x=1,2", "hydra.sweeper.n_trials=1")
    assert bench.open().metric_names is None
    # It is made without names, and gets them when it is opened again.
    record = study("x=1,2", "hydra.sweeper.metric_names=[loss]")
    assert bench.open().metric_names == ["loss"]
    assert "loss = 1.0000" in record.parent.data.tags["mlflow.note.content"]
    report = record.text(record.parent, "report.html")
    assert '"title":{"text":"loss"}' in report
    assert "<th>loss</th>" in report


def test_each_of_several_objectives_has_its_name(study, bench):
    record = study(
        "x=1,2",
        "do=pair",
        "hydra.sweeper.direction=[minimize,maximize]",
        "hydra.sweeper.metric_names=[loss,speed]",
    )
    assert bench.open().metric_names == ["loss", "speed"]
    report = record.text(record.parent, "report.html")
    assert "<h2>History of speed</h2>" in report
    assert "<th>speed</th>" in report


def test_every_objective_has_a_name_or_none(bench, store):
    answer = bench.sweep("x=1,2", "hydra.sweeper.metric_names=[loss,speed]", RECORDED, code=2)
    (line,) = answer.err.strip().splitlines()
    assert "metric_names ['loss', 'speed']: give one for each of the 1 objectives" in line
    assert not (bench.folder / "multirun").exists()


def test_a_searched_key_may_be_called_as_a_column_is(study, store):
    record = study("+reason=interrupted,luck", "steps=0,1")
    table = record.table()
    assert list(table["reason"]) == [""] * 4
    assert list(table["params.reason"]) == ["interrupted"] * 2 + ["luck"] * 2
    rows = leaderboard(store, "foreign", ["s"]).rows
    told = {(row.state, row.params["reason"], row.params["steps"], row.steps) for row in rows}
    assert told == {
        ("FINISHED", reason, str(steps), steps)
        for reason in ("interrupted", "luck")
        for steps in (0, 1)
    }


@pytest.mark.parametrize(
    ("objectives", "states"),
    [
        ([], ["FINISHED", "FINISHED", "FINISHED, breaks twice"]),
        (
            ["do=pair", "hydra.sweeper.direction=[minimize,minimize]"],
            ["FRONT", "FRONT", "FINISHED, breaks twice"],
        ),
    ],
    ids=["one", "several"],
)
def test_what_breaks_a_constraint_is_ranked_last(study, store, client, objectives, states):
    record = study("x=1,2,3", "hydra.sweeper.constraints={twice: '>= 4'}", *objectives)
    assert "breaks" not in record.tags(1)
    boards = [leaderboard(store, "foreign", ["s"])]
    client.update_run(record.parent.info.run_id, "RUNNING")  # its table is not read then
    boards.append(leaderboard(store, "foreign", ["s"]))
    for board in boards:
        _, lines = as_table(board.rows, board.scores)
        assert [line[0] for line in lines] == ["trial-1", "trial-2", "trial-0"]
        assert [line[1] for line in lines] == states
    report = record.text(record.parent, "report.html")
    assert report.index(">trial-2<") < report.index(">trial-0<")
    assert report.index('class="FINISHED">FINISHED, breaks twice<') > report.index(">trial-0<")


def test_what_is_searched_shows_in_every_child(study):
    """Also what is no key of a job's config: choices of groups, keys that are added."""
    record = study("network=small,large", "+new=1,2", r"text='a b','c,d'")
    assert record.children[7].data.params == {"network": "large", "new": "2", "text": "'c,d'"}
    assert {"search.network", "search.new", "search.text"} <= set(record.parent.data.params)


def test_an_interrupt_in_process_kills_child_and_parent(study):
    record = study("x=1,2", "do=interrupt@1", code=130)
    assert record.states == ["FINISHED", "KILLED"]
    assert record.tags(1)["reason"] == "interrupted"
    assert record.parent.info.status == "KILLED"
    record = study("x=1,2", "do=interrupt@1")
    assert record.states == ["FINISHED", "KILLED", "FINISHED"]
    assert record.tags(2)["retry_of"] == "trial-1"
    assert record.parent.info.status == "FINISHED"
    assert record.parent.data.tags["trials.fail"] == "1"


def test_trials_that_the_store_first_hears_of_afterwards_are_found(
    study, bench, store, client, monkeypatch
):
    def away(*arguments, **options):
        raise ConnectionError("no route")

    def begun(self, *arguments, **options):
        return make(self, *arguments, **options) if options["run_name"] == "s" else away()

    make = mlflow.MlflowClient.create_run
    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.create_run", begun)
        patch.setattr("mlflow.MlflowClient.get_run", away)
        bench.sweep("x=2,1", RECORDED, "+hydra.callbacks.mlflow.flush_timeout=0.1")
    sync(bench.folder / "multirun", None)
    record = Record(client)
    note = record.parent.data.tags["mlflow.note.content"]
    assert "**Best: trial-1**, objective = 1.0000, with x = `1`" in note
    runs = [record.children[number].info.run_id for number in (1, 0)]
    assert [row.run_id for row in leaderboard(store, "foreign", ["s"]).rows] == runs
    names = ["s", "multirun/s"]
    assert [row.run_id for row in leaderboard(store, "foreign", names).rows] == [runs[0]] * 2
    with pytest.raises(TrackingError, match="trial-1 was not trained by harnest-train"):
        winner_of(client, record.parent, None)


def interrupt(*arguments, **options):
    """In the place of what Ctrl-C comes in."""
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "moment",
    [
        "harnest.study.execution.executor.BatchExecutor.close",
        "harnest.tracking.figure_worker.FigureWorker.finish",
        "harnest.tracking.study_record.summarize",
    ],
    ids=["before", "drawing", "summary"],
)
def test_an_interrupt_at_the_end_of_a_study_leaves_no_run_at_work(study, monkeypatch, moment):
    with monkeypatch.context() as patch:
        patch.setattr(moment, interrupt)
        record = study("x=1,2", code=130)
    assert record.states == ["FINISHED"] * 2
    assert record.parent.info.status == "FINISHED"


@pytest.mark.parametrize("moment", ["RunLog.begin", "environment_tags"])
def test_an_interrupt_while_a_study_opens_leaves_no_run_at_work(study, bench, monkeypatch, moment):
    with monkeypatch.context() as patch:
        patch.setattr(f"harnest.tracking.study_record.{moment}", interrupt)
        record = study("x=1", code=130)
    assert (record.parent.info.status, record.children) == ("KILLED", {})
    assert not bench.directory(0).parent.exists()


def test_a_study_that_was_interrupted_while_it_went_on_is_as_before(study, monkeypatch):
    study("x=1,2", "hydra.sweeper.n_trials=1")
    with monkeypatch.context() as patch:
        patch.setattr("harnest.tracking.study_record.environment_tags", interrupt)
        record = study("x=1,2", code=130)
    assert record.parent.info.status == "FINISHED"


def facts(*directions, directory=Path(), space=None):
    return StudyInfo(
        name="s",
        identity="one",
        directory=directory,
        directions=directions,
        sampler="none",
        is_grid=True,
        pruner="none",
        budget=1,
        space=space or {},
        fixed=(),
        command="sweep",
    )


def started(bench, number):
    return is_written(bench.directory(number) / "seen.json")


@pytest.fixture
def hanging(bench, store):
    """A recorded sweeper in the middle of trial 1."""
    sweeper = bench.start("x=1,2,3", "do=hang@1", RECORDED)
    wait_until(lambda: started(bench, 1), "the second trial")
    yield sweeper
    sweeper.kill()
    sweeper.communicate()


def test_a_sweeper_that_cannot_open_a_study_leaves_it_the_end_that_another_gave_it(
    hanging, client, bench, monkeypatch
):
    def fail(_):
        hanging.send_signal(signal.SIGINT)
        assert hanging.wait(HANG_TIMEOUT) == 130
        raise TrackingError("no")

    monkeypatch.setattr("harnest.tracking.study_record.pending_below", fail)
    bench.sweep("x=1,2,3", "do=hang@1", RECORDED, code=2)
    assert Record(client).parent.info.status == "KILLED"


def test_what_a_killed_sweeper_leaves_is_ended_by_the_next(hanging, client, study, bench):
    wait_until(lambda: Record(client).states[0] == "FINISHED", "the first one's end")
    hanging.send_signal(signal.SIGKILL)
    hanging.wait()
    left = Record(client)
    assert (left.parent.info.status, left.states) == ("RUNNING", ["FINISHED", "RUNNING"])
    files = files_of(bench.directory(0))

    record = study("x=1,2,3", "do=hang@1")
    assert record.states == ["FINISHED", "KILLED", "FINISHED", "FINISHED"]
    assert record.tags(1)["reason"] == "interrupted"
    assert record.tags(3)["retry_of"] == "trial-1"
    assert record.parent.info.status == "FINISHED"
    assert record.parent.info.run_id == left.parent.info.run_id
    assert files_of(bench.directory(0)) == files


def test_a_run_whose_sweeper_died_before_it_could_send_its_end_is_ended_by_the_last(
    bench, store, client
):
    sweeper = bench.start("x=1,2", "do=hang@1", RECORDED)
    try:
        wait_until(lambda: started(bench, 1), "the second trial")
        wait_until(lambda: Record(client).states[0] == "FINISHED", "the first one's end")
        # As another host leaves it: its journal is out of reach, its end has not arrived.
        run_id = Record(client).children[0].info.run_id
        shutil.rmtree(bench.directory(0) / "record")
        client.update_run(run_id, status="RUNNING")
        (bench.folder / "release").touch()
        assert sweeper.wait(timeout=HANG_TIMEOUT) == 0
    finally:
        sweeper.kill()
        sweeper.communicate()
    record = Record(client)
    assert record.states == ["FINISHED", "FINISHED"]
    assert record.children[0].data.metrics["objective"] == 1
    assert record.parent.info.status == "FINISHED"


@pytest.mark.slow
def test_a_signal_ends_the_records_and_the_same_command_goes_on(hanging, client, study):
    hanging.send_signal(signal.SIGTERM)
    assert hanging.wait(HANG_TIMEOUT) == 130
    record = Record(client)
    assert (record.parent.info.status, record.states) == ("KILLED", ["FINISHED", "KILLED"])
    record = study("x=1,2,3", "do=hang@1")
    assert record.states == ["FINISHED", "KILLED", "FINISHED", "FINISHED"]
    assert record.parent.info.status == "FINISHED"


@pytest.mark.slow
def test_two_sweepers_have_one_parent(bench, store, client):
    command = ("x=1,2,3,4", RECORDED)
    sweepers = [bench.start(*command) for _ in range(2)]
    assert [sweeper.wait(timeout=HANG_TIMEOUT) for sweeper in sweepers] == [0, 0]
    for sweeper in sweepers:
        sweeper.communicate()
    record = Record(client)
    assert record.states == ["FINISHED"] * 4
    assert record.parent.info.status == "FINISHED"
    assert record.parent.data.tags["best.run_id"] == record.children[0].info.run_id


@pytest.mark.slow
def test_sweepers_that_open_a_study_at_the_same_moment_have_one_parent(bench, client):
    command = ("x=1,2,3,4", RECORDED)
    sweepers = [bench.start(*command) for _ in range(2)]
    assert [sweeper.wait(HANG_TIMEOUT) for sweeper in sweepers] == [0, 0]
    record = Record(client)  # which finds one parent only
    assert record.states == ["FINISHED"] * 4
    assert record.parent.info.status == "FINISHED"


def test_studies_of_the_same_name_in_two_folders_stay_apart(study, bench, client, monkeypatch):
    study("x=1,2")
    (bench.folder / "elsewhere").mkdir()
    monkeypatch.chdir(bench.folder / "elsewhere")
    bench.sweep("x=1,2", RECORDED)
    experiment = client.get_experiment_by_name("foreign")
    runs = client.search_runs([experiment.experiment_id])
    parents = [run.info.run_id for run in runs if run.info.run_name == "s"]
    children = [run.data.tags.get("mlflow.parentRunId") for run in runs]
    assert [children.count(parent) for parent in parents] == [2, 2]


@pytest.mark.parametrize(
    "search", [["nothing=1,2"], ["n=1,abc"], ["network=small,medium"], ["x=interval(2,1)"]]
)
def test_a_mistake_leaves_no_run(bench, store, client, search):
    bench.sweep(*search, RECORDED, code=2)
    assert client.get_experiment_by_name("foreign") is None
    assert not (bench.folder / "multirun").exists()


def test_a_store_that_is_away_is_told_before_the_first_trial(bench, store, monkeypatch):
    monkeypatch.setenv("STORE", "http://me:s3cr3t@127.0.0.1:1")
    answer = bench.sweep("x=1,2", RECORDED, code=2)
    (line,) = answer.err.strip().splitlines()
    assert "the MLflow server at http://me:***@127.0.0.1:1 does not answer" in line
    assert not bench.directory(0).exists()
    assert not (bench.folder / "multirun/s").exists()


def test_passwords_are_in_no_record_and_no_file(bench, store, client):
    secret = "'http://me:s3cr3t@host/model'"
    answer = bench.sweep("x=1,2", f"text={secret}", "do=fail@1", RECORDED)
    everything = json.dumps(
        [
            run.to_dictionary()
            for run in client.search_runs([client.get_experiment_by_name("foreign").experiment_id])
        ]
    )
    assert "http://me:***@host" in everything
    assert "s3cr3t" not in everything
    assert "s3cr3t" not in answer.err
    for name, (_, content) in files_of(bench.folder / "mlruns").items():
        assert b"s3cr3t" not in content, name


@pytest.mark.parametrize("sweeper", ["basic", "optuna"])
def test_other_sweepers_still_work(bench, store, client, sweeper):
    """They tell the record nothing, and it minds nothing."""
    answer = bench.run("-m", f"hydra/sweeper={sweeper}", "x=1,2", RECORDED, "hydra.sweep.dir=out")
    assert answer.code == 0, answer.err
    assert json.loads((bench.folder / "out/1/seen.json").read_text())["cfg"]["x"] in (1, 2)
    assert client.get_experiment_by_name("foreign") is None


@given(
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=9),
    st.sampled_from(["minimize", "maximize"]),
)
def test_the_best_is_the_best_and_the_first_of_equals(values, direction):
    trials = [TrialInfo(n, {}, TrialState.COMPLETE, (value,)) for n, value in enumerate(values)]
    wanted = min(values) if direction == "minimize" else max(values)
    for order in (trials, trials[::-1]):
        assert best_trial(order, [direction]).number == values.index(wanted)


def test_what_is_sent_to_a_job_holds_no_password():
    """submitit writes it to the disk."""
    record = StudyRecord("postgresql://me:s3cr3t@host/db", "foreign")
    assert b"s3cr3t" not in pickle.dumps(record)


def test_how_to_look_shows_no_password():
    assert view_command("http://me:s3cr3t@host:5000") == "http://me:***@host:5000"
    assert "harnest-ui --tracking-uri sqlite:///mlflow.db" in view_command("sqlite:///mlflow.db")
    assert "s3cr3t" not in view_command("postgresql://me:s3cr3t@host/db")


def test_the_environment_is_as_it_was(study):
    study("x=1,2")
    assert "MLFLOW_RUN_ID" not in os.environ
    assert "HARNEST_TRIAL" not in os.environ
