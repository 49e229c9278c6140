"""What a store has not heard of a run, told afterwards: here the run's own end."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from harnest.core.errors import TrackingError
from harnest.har.figures import save_to_draw
from harnest.tracking.figure_worker import pending_below
from harnest.tracking.outbox import sync as sync_module
from harnest.tracking.outbox.runlog import RunLog
from harnest.tracking.outbox.sync import sync
from harnest.tracking.run_writer import RunWriter
from made_predictions import made_predictions
from servers import free_port

RUN = """
import sys
from pathlib import Path
from harnest.tracking.run_writer import RunWriter

directory = Path(sys.argv[2])
directory.mkdir()
run = RunWriter.start(sys.argv[1], "x", "lone", {}, directory, 30.0)
run.metrics({"loss": 1.0}, 0)
(directory / "train.log").write_text("so far so good")
run.queue.uploader.wait(300)
print(run.run_id, flush=True)
sys.stdin.read()
run.end()
"""


@pytest.fixture
def lone(store, tmp_path):
    """A process in the middle of a run, and the run's identity."""
    command = [sys.executable, "-c", RUN, store, tmp_path / "run"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        yield process, process.stdout.readline().strip()
        process.kill()


def test_a_run_whose_process_was_killed_is_ended_once(lone, client, tmp_path):
    process, run_id = lone
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    sync(tmp_path, None)
    first = client.get_run(run_id)
    assert (first.info.status, first.data.tags["reason"]) == ("FAILED", "killed")
    assert [file.path for file in client.list_artifacts(run_id)] == ["train.log"]
    sync(tmp_path, None)
    assert client.get_run(run_id).to_dictionary() == first.to_dictionary()


def test_a_run_that_goes_on_is_left_alone(lone, client, tmp_path):
    process, run_id = lone
    sync(tmp_path, None)
    assert client.get_run(run_id).info.status == "RUNNING"
    process.communicate("")
    sync(tmp_path, None)
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_run_that_ends_while_it_is_looked_at_is_left_alone(lone, client, tmp_path, monkeypatch):
    """Its end was not there yet, and its process is not there any more."""
    process, run_id = lone
    ask = RunLog.has_ended

    def asked(run_log):
        answer = ask(run_log)
        process.communicate("")
        return answer

    monkeypatch.setattr(RunLog, "has_ended", asked)
    sync(tmp_path, None)
    process.communicate("")
    run = client.get_run(run_id)
    assert (run.info.status, "reason" in run.data.tags) == ("FINISHED", False)


def test_figures_that_a_killed_study_did_not_come_to_are_drawn(
    store, client, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run = RunWriter.start(store, "x", "trial-0", {}, tmp_path / "0", 30.0)
    save_to_draw(made_predictions([0, 1, 2], [0, 1, 1]), {}, tmp_path / "0")
    sync(Path(), None)
    listed = client.list_artifacts(run.run_id, "figures/validation")
    assert "figures/validation/confusion.png" in {file.path for file in listed}
    assert pending_below(tmp_path) == []


def test_a_run_that_is_removed_meanwhile_keeps_nothing_from_the_others(
    store, client, tmp_path, monkeypatch
):
    """As the folder of a new study is that cannot be opened after all."""
    for name in ("a", "b"):
        RunLog.begin(tmp_path / name, store).create("0", name, {})
    save_to_draw(made_predictions([0, 1, 2], [0, 1, 1]), {}, tmp_path / "b")
    drawn = sync_module.draw_pending

    def meanwhile(directory):
        shutil.rmtree(tmp_path / "a")
        drawn(directory)

    monkeypatch.setattr(sync_module, "draw_pending", meanwhile)
    sync(tmp_path, None)
    assert [run.info.run_name for run in client.search_runs(["0"])] == ["b"]


def test_a_store_that_is_away_keeps_nothing_from_the_others(store, client, tmp_path, capsys):
    away = f"http://127.0.0.1:{free_port()}"
    journals = {}
    for name, address in {"a": away, "b": store, "c": away, "d": "http://me:pw@host"}.items():
        journals[name] = RunLog.begin(tmp_path / name, address)
        journals[name].create("0", name, {})
    with pytest.raises(TrackingError, match="password"):
        sync(tmp_path, None)
    assert [run.info.run_name for run in client.search_runs(["0"])] == ["b"]
    assert {name: one.unsent() for name, one in journals.items()} == {
        "a": 1,
        "b": 0,
        "c": 1,
        "d": 1,
    }
    out = capsys.readouterr().out.splitlines()
    assert out[:2] == [
        f"{tmp_path / 'b'}: 1 writes sent",
        "4 run logs, 4 of them had unsent writes",
    ]
    assert len(out) == 3
    assert away in out[2]


def test_a_write_that_one_run_waits_for_keeps_nothing_from_the_others(
    store, client, tmp_path, monkeypatch
):
    for name in ("a", "b"):
        RunLog.begin(tmp_path / name, store).create("0", name, {})
    make = mlflow.MlflowClient.create_run

    def fails_for_a(self, **content):
        if content["run_name"] == "a":
            raise ConnectionError("no route")
        return make(self, **content)

    monkeypatch.setattr("mlflow.MlflowClient.create_run", fails_for_a)
    with pytest.raises(TrackingError, match=f"{tmp_path / 'a'}: no route"):
        sync(tmp_path, None)
    assert [run.info.run_name for run in client.search_runs(["0"])] == ["b"]
