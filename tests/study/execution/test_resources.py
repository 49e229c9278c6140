"""What runs out: memory, and the disk that the study is on."""

import os
import signal
import subprocess
import time
from pathlib import Path

import optuna
import pytest

from harnest.study.storage.optuna_storage import open_storage
from limits import HANG_TIMEOUT

LIMIT = 2**30  # bytes: enough for a sweep whose trials ask for little


@pytest.fixture
def memory_group():
    """A control group with little memory, of version 2 or 1, for one test's processes."""
    own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().split())
    root = Path("/sys/fs/cgroup")
    if "memory" in own:
        group = root / "memory" / own["memory"].lstrip("/") / f"test-{os.getpid()}"
        limit = group / "memory.limit_in_bytes"
    else:
        group = root / own.get("", "").lstrip("/") / f"test-{os.getpid()}"
        limit = group / "memory.max"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        limit.write_text(str(LIMIT))
    except OSError as error:
        group.rmdir()
        pytest.skip(f"its memory cannot be limited: {error}")
    yield group
    _remove(group)


def _remove(group):
    """Remove a control group, once the last of its processes has left it."""
    deadline = time.monotonic() + HANG_TIMEOUT
    while True:
        try:
            return group.rmdir()
        except OSError:
            assert time.monotonic() < deadline, group.joinpath("cgroup.procs").read_text()
            time.sleep(0.1)


@pytest.mark.slow
def test_a_trial_that_the_kernel_kills_for_its_memory_is_told_from_a_killed_one(
    folder, memory_group
):
    group = memory_group / "cgroup.procs"
    sweeper = folder.start(
        "do=devour,kill,finish", before=lambda: group.write_text(str(os.getpid()))
    )
    assert sweeper.wait(HANG_TIMEOUT) == 0, folder.said()
    assert folder.endings() == {
        "devour": ("FAIL", "oom"),
        "kill": ("FAIL", "killed"),
        "finish": ("COMPLETE", None),
    }
    run = folder.runs()["trial-0"]
    assert run.data.tags["reason"] == "oom"
    assert "out of memory" in run.data.tags["message"]


def test_the_kernel_is_offered_trials_and_what_waits_for_them_before_the_sweeper(folder):
    sweeper = folder.start("seconds=300")
    folder.await_facts(0)
    job = folder.facts(0)["pid"]
    warm = Path(f"/proc/{job}/stat").read_text().rpartition(")")[2].split()[1]
    children = Path(f"/proc/{warm}/task/{warm}/children")
    offered = []
    while len(offered) < 3 or min(offered) <= _offer(sweeper.pid):  # two wait, once they are made
        assert sweeper.poll() is None, offered
        offered = [_offer(pid) for pid in children.read_text().split()]
        time.sleep(0.02)
    sweeper.send_signal(signal.SIGINT)
    assert sweeper.wait(HANG_TIMEOUT) == 130, folder.said()


def _offer(pid):
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "multirun"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.slow
def test_a_full_disk_ends_the_sweep_with_a_line_and_the_study_goes_on_once_there_is_room(
    small_disk, folder
):
    command = ("do=finish,fill,finish-1,finish-2", "seconds=0.5")
    folder.sweep(*command, code=2)
    last = folder.said().strip().splitlines()[-1]
    assert last.startswith("study s: no space left in multirun/s")
    assert "Traceback" not in last
    (small_disk / "s/1/big").unlink()
    (folder.path / "room").touch()
    folder.sweep(*command)
    trials = folder.trials()
    again = {trial.user_attrs.get("retry_of") for trial in trials}
    assert "COMPLETE" in {trial.state.name for trial in trials}
    for trial in trials:
        assert trial.state.is_finished()
        if trial.state.name == "FAIL" and trial.number not in again:
            assert "No space left" in trial.user_attrs["message"]
    assert "RUNNING" not in folder.states().values()
    assert folder.states()["s"] == "FINISHED"


def test_a_journal_whose_last_entry_was_cut_short_is_written_on(tmp_path):
    address = f"journal://{tmp_path / 'study.journal'}"
    study = optuna.create_study(study_name="s", storage=open_storage(address))
    study.tell(study.ask(), 1.0)
    file = tmp_path / "study.journal"
    whole = file.read_bytes()
    study.tell(study.ask(), 2.0)
    entry = file.read_bytes()[len(whole) :]
    file.write_bytes(whole + entry[: len(entry) // 3])  # as a full disk leaves it

    cut = optuna.load_study(study_name="s", storage=open_storage(address))
    cut.tell(cut.ask(), 3.0)
    found = optuna.load_study(study_name="s", storage=open_storage(address)).trials
    assert [trial.value for trial in found if trial.value is not None] == [1.0, 3.0]
