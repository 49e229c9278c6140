"""Trials on ray: shares of a GPU, no batches, and a cluster that was started elsewhere.

Ray believes what it is told about GPUs: those here are declared, and not there.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from limits import HANG_TIMEOUT
from mortal_bench import Folder

# ray takes many seconds to start, and fails where that takes more than 30.
pytestmark = [pytest.mark.slow, pytest.mark.alone]

QUARTERS = ("+hydra.launcher.ray.remote={num_cpus: 1, num_gpus: 0.25}",)
HERE = (
    *("+hydra.launcher.ray.init.num_cpus=4", "+hydra.launcher.ray.init.num_gpus=1"),
    *("+hydra.launcher.ray.init.include_dashboard=false",),
)


@pytest.fixture
def place(tmp_path, empty_store, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else a cluster and its guests need a token
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return tmp_path


def spans(folder):
    facts = [folder.facts(trial.number) for trial in folder.trials()]
    return [(one["start"], one["end"]) for one in facts]


def test_four_trials_share_a_gpu_and_each_end_makes_room_for_the_next(place):
    folder = Folder(place, "ray", *HERE, *QUARTERS)
    assert folder.start("seconds=40,8,8.1,8.2,0.5,0.6,0.7").wait(HANG_TIMEOUT) == 0, folder.said()
    assert {trial.state.name for trial in folder.trials()} == {"COMPLETE"}
    (long, *short) = spans(folder)
    at_once = [sum(b < at < e for b, e in [long, *short]) for at, _ in short]
    assert max(at_once) >= 3  # and the one that begins
    assert len(short) == 6
    assert all(end < long[1] for _, end in short)  # no batch waited for the longest
    cards = {folder.facts(t.number)["CUDA_VISIBLE_DEVICES"] for t in folder.trials()}
    assert cards == {"0"}


def test_what_no_host_has_is_told_and_no_trial_is_lost(place):
    folder = Folder(place, "ray", *HERE, "+hydra.launcher.ray.remote.num_gpus=2")
    folder.sweep("seconds=0,1", code=2)
    assert "a trial needs CPU 1, GPU 2, and no ray host has that" in folder.said()
    assert {trial.state.name for trial in folder.trials()} == {"WAITING"}


@contextmanager
def cluster(folder: Path):
    """A cluster with one GPU to its name, started by hand in another folder; its address."""
    head, address = next(filter(None, (_start_cluster(folder) for _ in range(4))))
    try:
        yield address
    finally:
        head.send_signal(signal.SIGTERM)
        head.wait(HANG_TIMEOUT)


def _start_cluster(folder: Path):
    """The process of a cluster and its address; None where ray timed out."""
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--port=0"]
    log = folder / "ray.txt"
    with log.open("wb") as out:
        head = subprocess.Popen(
            [
                *(*ray, "--node-ip-address=127.0.0.1", "--num-cpus=4", "--num-gpus=1"),
                *("--include-dashboard=false", "--disable-usage-stats"),
                f"--temp-dir={folder}",
            ],
            cwd=folder,
            env={key: text for key, text in os.environ.items() if not key.startswith("HARNEST_")},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    while not (found := re.search(r"--address='(\S+?)'", log.read_text())):
        if head.poll() is not None:
            assert "timed out during startup" in log.read_text(), log.read_text()
            return None
        time.sleep(0.1)
    return head, found[1]


def test_a_cluster_that_runs_already_is_joined(place, tmp_path_factory):
    """Its workers know neither the study's folder nor its storage before they are told."""
    with cluster(tmp_path_factory.mktemp("r")) as address:
        folder = Folder(place, "ray", f"hydra.launcher.ray.init.address='{address}'", *QUARTERS)
        folder.sweep("do=finish,error,kill,finish-again", "seconds=0.5")
        assert folder.endings() == {
            "finish": ("COMPLETE", None),
            "error": ("FAIL", "error"),
            "kill": ("FAIL", "killed"),
            "finish-again": ("COMPLETE", None),
        }
        states = ["FINISHED", "FAILED", "FAILED", "FINISHED"]
        assert folder.states() == {"s": "FINISHED"} | {
            f"trial-{number}": state for number, state in enumerate(states)
        }
