"""What a store has not heard of a run, told afterwards: here the run's own end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_figures import judged

from harnest.sync import sync
from harnest.tracking.artist import keep, undrawn
from harnest.tracking.run import Run

RUN = """
import sys
from pathlib import Path
from harnest.tracking.run import Run

directory = Path(sys.argv[2])
directory.mkdir()
run = Run.start(sys.argv[1], "x", "lone", {}, directory, 30.0)
run.metrics({"loss": 1.0}, 0)
(directory / "train.log").write_text("so far so good")
run.outbox.courier.wait(30)
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


def test_figures_that_a_killed_study_did_not_come_to_are_drawn(
    store, client, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run = Run.start(store, "x", "trial-0", {}, tmp_path / "0", 30.0)
    keep(judged([0, 1, 2], [0, 1, 1]), {}, tmp_path / "0")
    sync(Path(), None)
    listed = client.list_artifacts(run.run_id, "figures/validation")
    assert "figures/validation/confusion.png" in {file.path for file in listed}
    assert undrawn(tmp_path) == []
