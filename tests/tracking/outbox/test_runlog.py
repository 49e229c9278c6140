"""Writes that wait in a file: in order, once, whoever sends them and whatever was cut short."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.models import Model

from harnest.core.errors import TrackingError
from harnest.tracking.figure_worker import pending_below
from harnest.tracking.outbox import operations
from harnest.tracking.outbox.runlog import (
    RunLog,
    RunLogBusyError,
    StoreUnavailableError,
    run_logs_below,
)
from harnest.tracking.outbox.sync import sync
from limits import HANG_TIMEOUT

STEPS = 30
EVERYTHING = [(step, float(step)) for step in range(STEPS)]


@pytest.fixture
def run_log(store, tmp_path, monkeypatch):
    """That of a run which MLflow does not know yet."""
    monkeypatch.setattr("harnest.tracking.outbox.runlog._PATIENCE", 60.0)  # the machine may be busy
    run_log = RunLog.begin(tmp_path / "run", store)
    run_log.create("0", "one", {"kind": "test"})
    return run_log


def fill(run_log, steps=range(STEPS)):
    for step in steps:
        run_log.add(operations.values(metrics={"loss": float(step)}, step=step))


def history(client, run_log):
    return [(m.step, m.value) for m in client.get_metric_history(run_log.run_id, "loss")]


def forget(run_log, **changes):
    """As if its last sender had died before it could note what it did."""
    mark = run_log.folder / "sent.json"
    mark.write_text(json.dumps(json.loads(mark.read_text()) | changes))


def test_a_run_is_made_when_its_journal_is_sent(run_log, client):
    assert run_log.run_id is None
    fill(run_log)
    assert run_log.unsent() == STEPS + 1
    assert run_log.send(client) == STEPS + 1
    run = client.get_run(run_log.run_id)
    assert (run.info.run_name, run.data.tags["kind"]) == ("one", "test")
    assert run.info.start_time == run_log.writes()[0]["start_time"]
    assert history(client, run_log) == EVERYTHING
    assert run_log.send(client) == 0


def test_sending_everything_again_changes_nothing(run_log, client, tmp_path):
    (tmp_path / "run" / "a.txt").write_text("a")
    fill(run_log)
    run_log.add(operations.values(params={"x": 1}, tags={"a": "b"}))
    run_log.add(operations.values(params={"x": 2, "y": 3}) | {"kind": "missing_params"})
    run_log.add(operations.files(["a.txt"], "folder"))
    run_log.add(operations.end("FINISHED"))
    run_log.send(client)
    before = client.get_run(run_log.run_id).to_dictionary(), history(client, run_log)
    assert before[0]["data"]["params"] == {"x": "1", "y": "3"}
    forget(run_log, offset=0, trying=0)
    assert run_log.send(client) == STEPS + 5
    assert (client.get_run(run_log.run_id).to_dictionary(), history(client, run_log)) == before
    assert len(client.search_runs(["0"])) == 1


def test_a_run_that_was_made_but_not_noted_is_found_again(run_log, client):
    run_log.send(client)
    made = run_log.run_id
    forget(run_log, offset=0, trying=0, run_id=None)
    fill(run_log)
    run_log.send(client)
    assert run_log.run_id == made
    assert len(client.search_runs(["0"])) == 1


@settings(max_examples=20)
@given(st.lists(st.integers(0, 120), max_size=8), st.lists(st.integers(0, 120), max_size=8))
def test_requests_hold_every_write_in_order_and_no_more_than_mlflow_takes(sizes, others):
    given = [
        operations.values(
            metrics={f"m{n}": 0.0 for n in range(size)},
            params={f"p{number}.{n}": n for n in range(min(other, 100))},
        )
        for number, (size, other) in enumerate(zip(sizes, others, strict=False))
    ]
    given.insert(len(given) // 2, operations.end("FINISHED"))
    requests = list(operations.batches((write, position) for position, write in enumerate(given)))
    assert [write for request, _ in requests for write in request] == given
    assert [reached for _, reached in requests] == [
        sum(len(request) for request, _ in requests[: index + 1]) - 1
        for index in range(len(requests))
    ]
    for request, _ in requests:
        if len(request) > 1:
            assert {write["kind"] for write in request} == {"values"}
            assert sum(len(write["metrics"]) for write in request) <= 1000
            assert sum(len(write["params"]) for write in request) <= 100


def test_half_a_line_of_a_killed_process_spoils_nothing(run_log, client):
    fill(run_log, range(5))
    with (run_log.folder / "journal.jsonl").open("a") as file:
        file.write('{"kind": "values", "metr')
    run_log.send(client)  # it may be in the middle of being written
    fill(run_log, range(5, STEPS))
    run_log.send(client)
    assert history(client, run_log) == EVERYTHING


def test_several_writers_and_senders_lose_and_repeat_nothing(run_log, client):
    run_log.send(client)
    together = threading.Barrier(4)

    def work(part):
        own = RunLog(run_log.directory)
        together.wait()
        for step in range(part, STEPS, 4):
            fill(own, [step])
            own.send(client)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert sorted(history(client, run_log)) == EVERYTHING


@pytest.fixture
def herald(run_log, client, monkeypatch):
    """A thread in the middle of making the run, and what lets the store answer it."""
    make = client.create_run
    is_asked, may_answer = threading.Event(), threading.Event()

    def slowly(**content):
        is_asked.set()
        may_answer.wait(HANG_TIMEOUT)
        return make(**content)

    monkeypatch.setattr(client, "create_run", slowly)
    with ThreadPoolExecutor(1) as thread:
        sent = thread.submit(run_log.send, client)
        assert is_asked.wait(HANG_TIMEOUT)
        yield sent, may_answer
        may_answer.set()


def test_two_threads_with_one_journal_make_one_run(run_log, client, herald):
    sent, may_answer = herald
    with ThreadPoolExecutor(1) as thread:
        uploader = thread.submit(run_log.send, client)
        time.sleep(0.5)
        may_answer.set()
        assert (sent.result(), uploader.result()) == (1, 0)
    assert len(client.search_runs(["0"])) == 1


def test_a_thread_waits_for_another_one_with_its_journal_only_so_long(
    run_log, client, herald, monkeypatch
):
    monkeypatch.setattr("harnest.tracking.outbox.runlog._PATIENCE", 0.2)
    with pytest.raises(RunLogBusyError):
        run_log.send(client)


def test_what_mlflow_refuses_is_told_and_the_rest_is_sent(run_log, client, caplog):
    fill(run_log, range(10))
    run_log.add(operations.values(metrics={"no such name: $%!": 1.0}))
    run_log.add(operations.files(["gone.txt"], None))
    fill(run_log, range(10, STEPS))
    run_log.send(client)
    assert history(client, run_log) == EVERYTHING
    assert "no such name" in caplog.text
    assert "gone.txt" in caplog.text


def test_a_store_that_fails_is_tried_again_from_there(run_log, client, monkeypatch):
    fill(run_log)

    def broken(*arguments, **options):
        raise ConnectionError("no route")

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.log_batch", broken)
        with pytest.raises(StoreUnavailableError, match="no route"):
            run_log.send(client)
    assert run_log.unsent() == STEPS  # the run was made
    run_log.send(client)
    assert history(client, run_log) == EVERYTHING


def test_a_store_that_fails_after_it_refused_a_request_is_tried_again(run_log, client, monkeypatch):
    """Its writes are sent one by one then, and are not refused for that."""
    large = requests.Response()
    large.status_code = 413
    answers = [requests.HTTPError("too large", response=large), ConnectionError("no route")]

    def broken(*arguments, **options):
        raise answers.pop(0)

    fill(run_log)
    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.log_batch", broken)
        with pytest.raises(StoreUnavailableError, match="no route"):
            run_log.send(client)
    run_log.send(client)
    assert history(client, run_log) == EVERYTHING


def test_a_model_whose_sender_died_while_it_wrote_is_sent_again(run_log, client, monkeypatch):
    class Died(BaseException):
        """What no handler of an error takes."""

    def opened_and_no_more(model, path):
        Path(path).write_text("")
        raise Died

    folder = run_log.directory / "record" / "model"
    folder.mkdir()
    Model().save(folder / "MLmodel")
    run_log.add(operations.model("record/model", {"accuracy": 0.5}, step=1))
    with monkeypatch.context() as patch:
        patch.setattr(Model, "save", opened_and_no_more)
        with pytest.raises(Died):
            run_log.send(client)
    run_log.send(client)
    (model,) = client.search_logged_models(["0"])
    assert model.source_run_id == run_log.run_id
    assert [(metric.key, metric.value) for metric in model.metrics] == [("accuracy", 0.5)]


def test_a_directory_with_an_unsent_record_is_not_written_over(run_log, client, store):
    fill(run_log)
    with pytest.raises(TrackingError, match="harnest-sync"):
        RunLog.begin(run_log.directory, store, "another")
    run_log.send(client)
    assert RunLog.begin(run_log.directory, store, "another").writes() == []


def test_who_held_a_directory_before_is_not_missed_in_its_next_record(store, tmp_path):
    """A lone run, and after it a study, which ends its runs itself."""
    first = RunLog.begin(tmp_path / "run", store, "one", owned=True)
    first.release()
    assert first.is_abandoned()
    assert not RunLog.begin(tmp_path / "run", store, "another").is_abandoned()


BEGIN = """
import os, sys
from pathlib import Path
from harnest.tracking.outbox.runlog import RECORD, RunLog

directory, address, left = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def die(event, arguments):
    global left
    if event in ("open", "os.rename", "os.remove") and RECORD in str(arguments[0]):
        left -= 1
        if left < 0:
            os._exit(9)

sys.addaudithook(die)
RunLog.begin(directory, address, "another")
"""


def records(folder):
    return [(one.run_id, one.writes()) for one in run_logs_below(folder)]


@pytest.mark.parametrize("look", [run_logs_below, pending_below])
def test_a_folder_that_is_removed_meanwhile_is_passed_over(run_log, tmp_path, monkeypatch, look):
    """That of a run which could not begin, for example."""
    (run_log.folder / "to_draw.npz").touch()
    gone, scandir = tmp_path / "gone", os.scandir
    gone.mkdir()

    def late(path):
        if Path(path) == gone:
            gone.rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", late)
    assert len(look(tmp_path)) == 1
    assert not gone.exists()


def test_a_record_without_its_mark_is_passed_over(run_log, store, tmp_path):
    """Earlier versions left that where a disk was full as they began."""
    (run_log.folder / "sent.json").unlink()
    assert run_logs_below(tmp_path) == []
    RunLog.begin(run_log.directory, store, "another")
    assert records(tmp_path) == [("another", [])]


@pytest.mark.parametrize("is_over_another", [False, True])
def test_a_process_killed_while_it_begins_leaves_nothing_in_the_way(
    run_log, client, store, tmp_path, is_over_another
):
    """At each of its steps in the directory; the record before it is another run's."""
    run_log.send(client)
    before, after = (run_log.run_id, run_log.writes()), ("another", [])
    died, step = True, 0
    while died:
        folder = tmp_path / str(step)
        if is_over_another:
            shutil.copytree(run_log.directory, folder)
        command = [sys.executable, "-c", BEGIN, folder, store, str(step)]
        died = subprocess.run(command, check=False).returncode == 9
        assert records(folder) in ([], [before], [after])
        sync(tmp_path, None)
        assert RunLog.begin(folder, store, "another").unsent() == 0
        assert records(folder) == [after]
        step += 1
    assert step > 3


def test_the_same_run_is_gone_on_with(run_log, client, store):
    run_log.send(client)
    fill(run_log)
    same = RunLog.begin(run_log.directory, store, run_log.run_id)
    assert same.unsent() == STEPS


def test_the_address_is_usable_from_anywhere_and_holds_no_password(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert RunLog.begin(tmp_path / "a", "sqlite:///x.db").address == f"sqlite:///{tmp_path}/x.db"
    secret = RunLog.begin(tmp_path / "b", "http://me:s3cr3t@host:5000")
    assert secret.address == "http://me:***@host:5000"
    assert len(run_logs_below(tmp_path)) == 2
