"""Sweepers as processes: killed, interrupted, several at once."""

import os
import pty
import re
import signal
import subprocess
import sys

import optuna
import pytest

from foreign_bench import APP, files_of, is_written, wait_until
from harnest.core.errors import StudyError
from harnest.study.console.terminal import Terminal
from harnest.study.events import TrialInfo
from harnest.study.execution.executor import BatchExecutor
from harnest.study.storage.optuna_storage import journal_address, open_storage
from limits import HANG_TIMEOUT

HANG = ("x=1,2,3", "do=hang@1")


@pytest.fixture
def hanging(bench):
    """A sweeper in the middle of trial 1, which would take minutes."""
    sweeper = bench.start(*HANG)
    wait_until(lambda: works_on(bench, 1), "the second trial")
    yield sweeper
    sweeper.kill()
    sweeper.wait()


def works_on(bench, number: int) -> bool:
    return is_written(bench.directory(number) / "seen.json")


def end(sweeper: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    out, err = sweeper.communicate(timeout=HANG_TIMEOUT)
    return sweeper.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_study_goes_on_to_its_end(bench, hanging, number):
    hanging.send_signal(number)
    code, out, err = end(hanging)
    assert code == 130
    assert err.strip().splitlines()[-1] == "interrupted"
    assert "trial 1 interrupted" in out
    assert "the same command resumes it" in out
    assert bench.states() == ["COMPLETE", "FAIL", "WAITING"]
    assert bench.trials()[1].user_attrs["reason"] == "interrupted"

    bench.sweep(*HANG)
    assert bench.states() == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert [trial.params["x"] for trial in bench.trials()] == [1, 2, 3, 2]


def test_what_a_killed_sweeper_leaves_is_ended_and_run_again(bench, hanging):
    hanging.send_signal(signal.SIGKILL)
    assert end(hanging)[0] == -signal.SIGKILL
    assert bench.states() == ["COMPLETE", "RUNNING", "WAITING"]
    left = files_of(bench.directory(1))

    bench.sweep(*HANG)
    trials = bench.trials()
    assert bench.states() == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert trials[1].user_attrs["reason"] == "interrupted"
    assert (trials[3].params, trials[3].user_attrs["retry_of"]) == (trials[1].params, 1)
    assert files_of(bench.directory(1)) == left


def test_a_study_goes_on_when_nobody_reads_what_it_says(bench, hanging):
    hanging.stdout.close()  # as after a pager or a head has ended
    (bench.folder / "release").touch()
    assert hanging.wait(HANG_TIMEOUT) == 0, hanging.stderr.read()
    assert bench.states() == ["COMPLETE"] * 3


def test_a_study_goes_on_when_its_terminal_is_closed(bench):
    ours, theirs = pty.openpty()
    command = [sys.executable, APP, "-m", *HANG, "hydra.sweeper.study=s"]
    sweeper = subprocess.Popen(
        command, cwd=bench.folder, stdin=theirs, stdout=theirs, start_new_session=True
    )
    os.close(theirs)
    wait_until(lambda: works_on(bench, 1), "the second trial")
    os.close(ours)
    (bench.folder / "release").touch()
    assert sweeper.wait(HANG_TIMEOUT) == 0
    assert bench.states() == ["COMPLETE"] * 3


def test_the_trial_of_a_living_sweeper_is_not_taken_from_it(bench, hanging):
    answer = bench.sweep(*HANG)
    assert re.findall(r"working on (\d+)", answer.out) == ["2"]
    assert bench.states() == ["COMPLETE", "RUNNING", "COMPLETE"]


def test_another_sweeper_takes_over_what_was_interrupted(bench):
    command = ("x=1,2,3", "do=hang")
    first, second = bench.start(*command), bench.start(*command)
    wait_until(lambda: all(works_on(bench, number) for number in (0, 1)), "both sweepers")
    owners = [trial.user_attrs["sweeper"] for trial in bench.trials()[:2]]
    assert len(set(owners)) == 2
    first.send_signal(signal.SIGINT)
    assert end(first)[0] == 130
    (bench.folder / "release").touch()
    code, out, _ = end(second)
    assert code == 0
    assert "study s is complete" in out
    trials = bench.trials()
    assert sorted(trial.state.name for trial in trials) == ["COMPLETE"] * 3 + ["FAIL"]
    assert sorted(t.params["x"] for t in trials if t.state.name == "COMPLETE") == [1, 2, 3]


def test_a_trial_that_no_sweeper_came_to_own_is_taken_by_the_next(bench):
    bench.sweep("x=1,2,3", "hydra.sweeper.n_trials=1")
    storage = open_storage(journal_address(bench.folder / "multirun/s"))
    taken = optuna.load_study(study_name="s", storage=storage).ask()
    assert taken.params == {}  # as far as a sweeper comes that is killed at once
    bench.sweep("x=1,2,3")
    complete = [t.params["x"] for t in bench.trials() if t.state.name == "COMPLETE"]
    assert complete == [1, 2, 3]


def test_an_interrupt_is_heard_before_all_slots_are_filled(bench, monkeypatch):
    interrupts = iter([signal.SIGINT])

    def interrupt(*_):
        for number in interrupts:
            signal.raise_signal(number)
        return {}

    monkeypatch.setattr(Terminal, "on_trial_start", interrupt)
    slots = ("hydra/launcher=slots", "hydra.launcher.cpu_slots=3")
    bench.sweep("x=1,2,3", *slots, code=130)
    assert bench.states() == ["FAIL", "WAITING", "WAITING"]


def test_a_trial_that_ends_while_it_is_taken_from_its_sweeper_is_not_run_again(bench, hanging):
    trial = bench.trials()[1]
    storage = open_storage(journal_address(bench.folder / "multirun/s"))
    storage.set_trial_user_attr(trial._trial_id, "reason", "interrupted")  # and then its end
    (bench.folder / "release").touch()
    code, out, err = end(hanging)
    assert code == 0, err
    assert "trial 1 finished" in out
    assert bench.states() == ["COMPLETE"] * 3


def test_a_study_is_told_as_it_is_at_one_moment(bench, monkeypatch):
    """Also where the trial of another sweeper ends while this one reads the study's end."""
    command = ("do=hang,fail",)
    other = bench.start(*command)
    wait_until(lambda: works_on(bench, 0), "the other sweeper")
    before = TrialInfo.of

    def of(trial, *best):
        if trial.state.name == "RUNNING":
            (bench.folder / "release").touch()
            assert end(other)[0] == 0
        return before(trial, *best)

    monkeypatch.setattr(
        BatchExecutor, "close", lambda _: monkeypatch.setattr(TrialInfo, "of", staticmethod(of))
    )
    answer = bench.sweep(*command)  # its own trial fails, and says nothing of the study
    assert "study s is not complete" in answer.out
    assert bench.states() == ["COMPLETE", "FAIL"]


def test_a_new_study_that_one_sweeper_cannot_open_is_left_to_another(bench, monkeypatch):
    sweepers = []

    def fail(*_):
        sweepers.append(bench.start("x=1,2"))
        here = bench.folder / "multirun/s"
        wait_until(lambda: len(list(here.glob(".sweeper-*"))) == 2, "the other sweeper")
        raise StudyError("no")

    monkeypatch.setattr(Terminal, "on_study_start", fail)
    bench.sweep("x=1,2", code=2)
    code, _, err = end(*sweepers)
    assert code == 0, err
    assert bench.states() == ["COMPLETE"] * 2


def test_sweepers_that_start_together_share_the_budget(bench):
    command = (
        "x=interval(1,2)",
        "hydra.sweeper.n_trials=8",
        "hydra/sweeper/sampler=random",
        "hydra.sweeper.sampler.seed=1",
    )
    sweepers = [bench.start(*command) for _ in range(2)]
    ran = []
    for sweeper in sweepers:
        code, out, err = end(sweeper)
        assert code == 0, err
        ran += re.findall(r"working on (\d+)", out)
    assert sorted(map(int, ran)) == list(range(8))
    assert bench.states() == ["COMPLETE"] * 8
    assert len({trial.params["x"] for trial in bench.trials()}) == 8
    together = [(trial.number, trial.params) for trial in bench.trials()]
    bench.sweep(*command, study="alone")
    assert [(trial.number, trial.params) for trial in bench.trials("alone")] == together


def test_sweepers_that_start_together_share_a_grid(bench):
    sweepers = [bench.start("x=1,2,3", "network=small,large") for _ in range(2)]
    codes = [end(sweeper)[0] for sweeper in sweepers]
    assert codes == [0, 0]
    assert bench.states() == ["COMPLETE"] * 6
    assert len({tuple(trial.params.items()) for trial in bench.trials()}) == 6


def test_the_plugin_is_found_and_imports_nothing_heavy(tmp_path):
    code = (
        "import sys; from hydra.core.plugins import Plugins; Plugins.instance();"
        "heavy = {'optuna', 'torch', 'mlflow', 'pytorch_lightning'} & set(sys.modules);"
        "print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    shown = subprocess.run(
        [sys.executable, str(APP), "--info", "plugins"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "StudySweeper" in shown.stdout + shown.stderr
