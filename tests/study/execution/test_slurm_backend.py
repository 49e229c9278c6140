"""Trials in SLURM's queue: what is handed over to it, and what its signals make of a trial.

No SLURM is needed: programs of its names run each job on this host (foreign/fake_slurm.py). So
this shows the script, the hand-over and the signals, and nothing of a queue.
"""

import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from foreign_bench import is_written, wait_until
from limits import HANG_TIMEOUT
from mortal_bench import Folder

FAKE = Path(__file__).parents[2] / "support/foreign/fake_slurm.py"


@pytest.fixture
def slurm(tmp_path, empty_store, monkeypatch):
    """A folder whose launcher is SLURM's, and what that keeps of its jobs."""
    programs, spool = tmp_path / "bin", tmp_path / "spool"
    programs.mkdir()
    spool.mkdir()
    for name in ("sbatch", "srun", "sacct", "scancel"):
        (programs / name).write_text(f"#!{sys.executable}\n{FAKE.read_text()}")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("FAKE_SLURM", str(spool))
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    options = ("partition=gpu", "gpus_per_node=1", "array_parallelism=2", "timeout_min=90")
    launcher = [f"hydra.launcher.{option}" for option in options]
    return Folder(tmp_path, "submitit_slurm", *launcher)


def scripts(folder):
    return [job.read_text() for job in sorted(folder.path.glob("spool/*/script"))]


def tell(folder, *options):
    """SLURM's word to the job of trial 0, which is its first."""
    subprocess.run(["scancel", *options, "1"], check=True)


@pytest.mark.slow
def test_each_trial_is_a_job_of_its_own_with_its_number(slurm):
    ends = {
        "linger": ("COMPLETE", None),
        "finish": ("COMPLETE", None),
        "prune": ("PRUNED", None),
        "error": ("FAIL", "error"),
    }
    pruner = ("hydra/sweeper/pruner=threshold", "hydra.sweeper.pruner.upper=1000")
    slurm.sweep(f"do={','.join(ends)}", "seconds=0.2", *pruner)
    assert slurm.endings() == ends
    states = ["FINISHED", "FINISHED", "KILLED", "FAILED"]
    named = {f"trial-{number}": state for number, state in enumerate(states)}
    assert slurm.states() == {"s": "FINISHED"} | named
    jobs = scripts(slurm)
    assert len(jobs) == 4
    # Two are handed over at once: which of them SLURM takes first is not ours to say.
    for number in range(4):
        assert any(f"#SBATCH --job-name=s-{number}\n" in job for job in jobs)
    for line in ("--partition=gpu", "--gpus-per-node=1", "--time=90", "--no-requeue"):
        assert all(f"#SBATCH {line}\n" in job for job in jobs)
    assert "#SBATCH --array" not in "".join(jobs)
    assert not list(slurm.path.glob("multirun/s/*/.pid"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        pytest.param((), "interrupted", id="cancelled"),
        pytest.param(("--signal=TERM",), "interrupted", id="pre-empted"),
        pytest.param(("--signal=USR2",), "timeout", id="time-limit"),
    ],
)
def test_a_trial_that_slurm_ends_is_told_why_and_run_again(slurm, options, reason):
    sweeper = slurm.start("seconds=20", "hydra.sweeper.retry={timeout: 1}")
    try:
        slurm.await_facts(0)
        tell(slurm, *options)
        assert sweeper.wait(HANG_TIMEOUT) == 0, slurm.said()
    finally:
        sweeper.kill()
    first, second = slurm.trials()
    assert (first.state.name, first.user_attrs["reason"]) == ("FAIL", reason)
    assert (second.state.name, second.user_attrs["retry_of"]) == ("COMPLETE", 0)
    assert "RUNNING" not in slurm.states().values()


@pytest.mark.slow
def test_ctrl_c_takes_the_jobs_out_of_the_queue(slurm):
    sweeper = slurm.start("seconds=60,61,0.1")
    try:
        slurm.await_facts(0, 1)
        for marker in slurm.path.glob("multirun/s/*/.pid"):  # as if they were on another host
            marker.write_text("1 elsewhere")
        sweeper.send_signal(signal.SIGINT)
        assert sweeper.wait(HANG_TIMEOUT) == 130, slurm.said()
    finally:
        sweeper.kill()
    assert [t.user_attrs.get("reason") for t in slurm.trials()[:2]] == ["interrupted"] * 2
    assert slurm.states() == {"s": "KILLED", "trial-0": "KILLED", "trial-1": "KILLED"}
    for job in ("1", "2"):
        wait_until((slurm.path / "spool" / job / "code").exists, "the job's end")
        assert (slurm.path / "spool" / job / "signals").read_text() == "--signal=INT\n"


@pytest.mark.slow
def test_a_trial_that_has_failed_takes_its_other_replicates_out_of_the_queue(slurm, bench):
    told = ("do=divide", "text=hang@0+fall@1", "hydra.launcher.array_parallelism=4")
    sweeper = bench.start("x=1", *slurm.launcher, *told)
    try:
        first, second = (bench.directory(0) / f"part-{number}" for number in (0, 1))
        for place in (first, second):
            wait_until(partial(is_written, place / ".pid"), "two replicates to begin")
        (first / ".pid").write_text("1 elsewhere")  # as if it were on another host
        (bench.folder / "fall").touch()
        assert sweeper.wait(HANG_TIMEOUT) == 2  # since no trial has finished
    finally:
        sweeper.kill()
        sweeper.communicate()
    assert "no luck with x=1" in bench.trials()[0].user_attrs["message"]
    (number,) = (path.name for path in first.glob(".submitit/[0-9]*"))
    assert (slurm.path / "spool" / number / "signals").read_text() == "--signal=INT\n"


@pytest.mark.slow
def test_the_project_s_own_choice_sweeps(slurm):
    """``hydra/launcher=slurm``, and a real training in place of the bench's application."""
    command = [Path(sys.executable).with_name("harnest-train"), "-m", "hydra/launcher=slurm"]
    small = ("trainer=cpu", "trainer.max_epochs=1", "model.hidden_size=4,8", "logger=none")
    done = subprocess.run(
        [*command, "hydra.sweeper.study=own", *small],
        cwd=slurm.path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "study own is complete" in done.stdout
    names = {line for text in scripts(slurm) for line in text.splitlines() if "job-name" in line}
    assert names == {"#SBATCH --job-name=own-0", "#SBATCH --job-name=own-1"}


def test_where_there_is_no_slurm_one_line_says_so(tmp_path, empty_store, monkeypatch):
    if shutil.which("sbatch"):
        pytest.skip("there is a SLURM here")
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    folder = Folder(tmp_path, "submitit_slurm")
    folder.sweep("seconds=0,1", code=2)
    assert "sbatch not found" in folder.said()
    assert not (tmp_path / "multirun/s/study.journal").exists()
