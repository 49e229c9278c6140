import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_param_name

from harnest.core.errors import TrackingError
from harnest.core.failure import INTERRUPTED, Failure
from harnest.tracking.outbox.operations import param_key
from harnest.tracking.outbox.runlog import RunLog
from harnest.tracking.outbox.uploader import WriteQueue
from harnest.tracking.run_writer import OBJECTIVE, RUN_ID, RunWriter
from limits import HANG_TIMEOUT


@pytest.fixture
def run(store, tmp_path):
    return RunWriter.start(store, "tests", "one", {"kind": "test"}, tmp_path / "one", 10)


def data(run):
    assert run.queue.uploader.wait(HANG_TIMEOUT)
    return run.client.get_run(run.run_id).data


def status(run):
    assert run.queue.uploader.wait(HANG_TIMEOUT)
    return run.client.get_run(run.run_id).info.status


def text(run, name, tmp_path):
    assert run.queue.uploader is None or run.queue.uploader.wait(HANG_TIMEOUT)
    return Path(run.client.download_artifacts(run.run_id, name, str(tmp_path))).read_text()


def test_a_new_run_is_running_and_called_as_told(run):
    info = run.client.get_run(run.run_id).info
    assert (info.run_name, info.status) == ("one", "RUNNING")
    assert data(run).tags["kind"] == "test"


def test_parameters_are_kept_in_full(run):
    values = {"short": 1, "long": "x" * 251, "longest": "y" * 6000, "list": [1, None]}
    run.params(values)
    assert data(run).params == {key: str(value) for key, value in values.items()}


def test_a_parameter_that_mlflow_cannot_take_says_where_it_stands(run):
    run.params({"endless": "x" * 6001})
    assert data(run).params["endless"] == "too long: see config.yaml"


def test_there_may_be_hundreds_of_parameters(run):
    values = {f"group.{number}": str(number) for number in range(250)}
    run.params(values)
    assert data(run).params == values


@given(st.text(min_size=1, max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_key_becomes_one_that_mlflow_takes(key):
    _validate_param_name(f"a{param_key(key)}z".replace("//", "_").replace("/", "_"))


def test_keys_with_signs_are_recorded(run):
    run.params({"net@encoder": "large", "a+b": 1})
    assert data(run).params == {"net_encoder": "large", "a_b": "1"}


def test_missing_parameters_are_added_and_others_kept(run):
    run.params({"x": 1})
    run.missing_params({"x": 2, "net@encoder": "large"})
    run.missing_params({"net@encoder": "small"})
    assert data(run).params == {"x": "1", "net_encoder": "large"}


def test_metrics_are_all_there_and_in_order(run):
    for step in range(60):
        run.metrics({"loss": 1 / (step + 1), "accuracy": step / 60}, step)
    assert run.queue.uploader.wait(HANG_TIMEOUT)
    for name, value in (("loss", lambda s: 1 / (s + 1)), ("accuracy", lambda s: s / 60)):
        history = run.client.get_metric_history(run.run_id, name)
        assert [(one.step, one.value) for one in history] == [(s, value(s)) for s in range(60)]


def test_numbers_that_are_none_are_recorded(run):
    run.metrics({"bad": float("nan"), "high": float("inf")}, 0)
    assert data(run).metrics["bad"] != data(run).metrics["bad"]
    assert data(run).metrics["high"] > 1e300


def test_files_that_exist_are_copied(run, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    run.files([tmp_path / "a.txt", tmp_path / "missing.txt"], "folder")
    run.text("hello", "note.txt")
    assert run.queue.uploader.wait(HANG_TIMEOUT)
    listed = {one.path for one in run.client.list_artifacts(run.run_id)}
    assert listed == {"folder", "note.txt"}
    assert [one.path for one in run.client.list_artifacts(run.run_id, "folder")] == ["folder/a.txt"]


def test_the_directory_of_a_run_at_work_is_not_given_to_another(run, store, tmp_path):
    assert run.queue.uploader.wait(HANG_TIMEOUT)
    with pytest.raises(TrackingError, match="in use by another run"):
        RunWriter.start(store, "tests", "two", {}, tmp_path / "one", 10)
    run.metrics({"loss": 1.0}, 0)
    run.end()
    group = run.client.get_run(run.run_id).info.experiment_id
    ends = {one.info.run_name: one.info.status for one in run.client.search_runs([group])}
    assert ends == {"one": "FINISHED", "two": "FAILED"}
    assert data(run).metrics == {"loss": 1.0}
    again = RunWriter.start(store, "tests", "three", {}, tmp_path / "one", 10)
    assert again.queue.run_log.writes() == []


def test_a_good_end(run):
    run.metrics({"loss": 1.0}, 0)
    run.score(0.5, 3)
    run.end()
    assert status(run) == "FINISHED"
    assert data(run).metrics == {"loss": 1.0, OBJECTIVE: 0.5, "steps": 3}
    assert run.client.get_run(run.run_id).info.end_time is not None


@pytest.mark.parametrize(("reason", "state"), [("oom", "FAILED"), (INTERRUPTED, "KILLED")])
def test_a_bad_end(run, tmp_path, reason, state):
    run.end(Failure(reason, "a line", "Traceback: all of it"))
    assert status(run) == state
    assert (data(run).tags["reason"], data(run).tags["message"]) == (reason, "a line")
    assert text(run, "traceback.txt", tmp_path) == "Traceback: all of it"


def test_an_interrupt_while_the_rest_is_sent_tells_how_to_send_it(run, monkeypatch, caplog):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(run.queue.uploader, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.end()
    assert f"harnest-sync {run.queue.run_log.directory}" in caplog.text
    assert run.has_ended()


def test_an_endless_message_does_not_hinder_the_end(run):
    run.end(Failure("error", "x" * 20_000))
    assert status(run) == "FAILED"
    assert data(run).tags["message"].startswith("xxx")


def test_what_mlflow_does_not_take_is_told_and_all_else_is_there(run, caplog):
    run.metrics({"loss": 1.0}, 0)
    run.metrics({"no such name: $%!": 1.0}, 0)
    run.params({"x": 1})
    run.params({"x": 2})
    run.metrics({"loss": 0.5}, 1)
    run.end()
    assert status(run) == "FINISHED"
    assert data(run).params == {"x": "1"}
    assert [one.value for one in run.client.get_metric_history(run.run_id, "loss")] == [1.0, 0.5]
    assert ["no such name" in caplog.text, "'x'" in caplog.text] == [True, True]


def test_a_trials_run_is_used_and_left_to_its_study(run, store, monkeypatch, tmp_path):
    monkeypatch.setenv(RUN_ID, run.run_id)
    trial = RunWriter.start(store, "another", "two", {"seed": "3"}, tmp_path / "two", 10)
    trial.metrics({"loss": 2.0}, 0)
    trial.score(0.9, 3)
    trial.end(Failure("error", "no"))
    assert trial.run_id == run.run_id
    assert status(run) == "RUNNING"
    assert data(run).metrics == {"loss": 2.0}
    assert data(run).tags["seed"] == "3"
    assert "reason" not in data(run).tags
    assert run.client.get_run(run.run_id).info.run_name == "one"
    assert json.dumps(data(run).params) == "{}"


def test_a_file_that_is_sent_as_it_is_written_again_is_whole(store, client, tmp_path, monkeypatch):
    run_log = RunLog.begin(tmp_path / "run", store)
    run_log.create("0", "one", {})
    run = RunWriter(client, None, True, WriteQueue(run_log, None))
    run.text("the first", "note.txt")
    write = Path.write_text

    def slowly(file, content):
        if file.suffix == ".txt":
            write(file, content[:5])
            run_log.send(client)
            assert text(run, "note.txt", tmp_path) == "the first"
        write(file, content)

    monkeypatch.setattr(Path, "write_text", slowly)
    run.text("the second", "note.txt")
    run_log.send(client)
    assert text(run, "note.txt", tmp_path) == "the second"
