"""The contract of every launcher that the sweeper drives, ours and Hydra's own."""

import shutil
import signal
import threading
from pathlib import Path

import mlflow
import pytest

from foreign_bench import wait_until
from harnest.core.failure import TrialInterruptedError
from harnest.study.execution.threaded_executor import ThreadedExecutor
from limits import HANG_TIMEOUT
from mortal_bench import Folder, gone

SLOW = pytest.mark.slow  # each job of submitit's, and ray itself, takes seconds to start
RAY = ("+hydra.launcher.ray.init.num_cpus=2", "+hydra.launcher.ray.init.include_dashboard=false")
WITH_PROCESSES = [
    pytest.param(("slots", "hydra.launcher.cpu_slots=2"), id="slots", marks=SLOW),
    pytest.param(("joblib", "hydra.launcher.n_jobs=2"), id="joblib", marks=SLOW),
    pytest.param(("submitit_local", "hydra.sweeper.batch=2"), id="submitit", marks=SLOW),
    pytest.param(("ray", *RAY), id="ray", marks=SLOW),
]
PACKED = ("packed", "hydra.launcher.pack=6", "hydra.launcher.varying_keys=[do]")
PRUNER = ("hydra/sweeper/pruner=threshold", "hydra.sweeper.pruner.upper=1000")


@pytest.fixture
def launched(request, tmp_path, empty_store):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return Folder(tmp_path, *request.param)


def artifact(folder, run, name):
    client = mlflow.MlflowClient(f"sqlite:///{folder.path}/mlflow.db")
    file = client.download_artifacts(run.info.run_id, name, str(folder.path))
    return Path(file).read_text()


@pytest.mark.parametrize(
    "launched",
    [
        *WITH_PROCESSES,
        pytest.param(("basic",), id="basic"),
        pytest.param(PACKED, id="packed", marks=SLOW),
    ],
    indirect=True,
)
def test_a_trial_prunes_nests_and_ends_in_the_right_state(launched):
    ends = {
        "finish": ("COMPLETE", None),
        "prune": ("PRUNED", None),
        "error": ("FAIL", "error"),
        "diverge": ("FAIL", "nan"),
        "finish-again": ("COMPLETE", None),
        "quit": ("FAIL", "error"),
        "forget": ("COMPLETE", None),  # what its process was told of it
    }
    launched.sweep(f"do={','.join(ends)}", "seconds=0.2", *PRUNER)
    assert launched.endings() == ends
    runs = launched.runs()
    assert launched.states() == {
        "s": "FINISHED",
        "trial-0": "FINISHED",
        "trial-1": "KILLED",
        "trial-2": "FAILED",
        "trial-3": "FAILED",
        "trial-4": "FINISHED",
        "trial-5": "FAILED",
        "trial-6": "FINISHED",
    }
    parents = {run.data.tags.get("mlflow.parentRunId") for run in runs.values()}
    assert parents == {None, runs["s"].info.run_id}
    assert runs["trial-2"].data.tags["reason"] == "error"
    assert runs["trial-2"].data.tags["message"] == "ValueError: no luck"
    assert 'raise ValueError("no luck")' in artifact(launched, runs["trial-2"], "traceback.txt")
    assert runs["trial-5"].data.tags["message"].endswith("the trial ended itself: SystemExit(0)")
    if launched.launcher[0] != "hydra/launcher=basic":  # there jobs print where the sweep does
        assert artifact(launched, runs["trial-2"], "output.log").startswith("alive")
        pids = {launched.facts(number)["pid"] for number in (0, 2, 3, 4)}
        if launched.launcher[0] == "hydra/launcher=packed":
            assert len(pids) == 1
        elif launched.launcher[0] == "hydra/launcher=slots":  # others use a worker again
            assert len(pids) == 4
    assert not list(launched.path.glob("multirun/s/*/.pid"))


@pytest.mark.slow  # submitit waits 15 s for what a dead process may still write
@pytest.mark.parametrize("launched", WITH_PROCESSES, indirect=True)
def test_a_killed_process_ends_its_own_trial_and_the_study_goes_on(launched):
    launched.sweep("do=finish,kill,crash,error,finish-again", "seconds=0.5")
    assert launched.endings() == {
        "finish": ("COMPLETE", None),
        "kill": ("FAIL", "killed"),
        "crash": ("FAIL", "killed"),
        "error": ("FAIL", "error"),
        "finish-again": ("COMPLETE", None),
    }
    reasons = {trial.user_attrs.get("reason") for trial in launched.trials()}
    is_joblib = launched.launcher[0] == "hydra/launcher=joblib"
    assert reasons == {None, "killed", "error"} | ({"interrupted"} if is_joblib else set())
    runs = launched.runs()
    for trial in launched.trials():
        run = runs[f"trial-{trial.number}"]
        assert run.data.tags.get("reason") == trial.user_attrs.get("reason")
        told = {"killed": "FAILED", "error": "FAILED", "interrupted": "KILLED", None: "FINISHED"}
        assert run.info.status == told[trial.user_attrs.get("reason")]
    assert runs["s"].info.status == "FINISHED"
    assert not list(launched.path.glob("multirun/s/*/.pid"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "launched", [pytest.param(("joblib", "hydra.launcher.n_jobs=2"), id="joblib")], indirect=True
)
def test_trials_that_a_pool_takes_along_are_run_again_and_the_guilty_one_is_found(launched):
    launched.sweep("do=kill,linger", "seconds=3")  # both have begun before the first one dies
    first, second, *retries = launched.trials()
    assert [t.user_attrs["reason"] for t in (first, second)] == ["interrupted"] * 2
    assert "ended with another trial" in second.user_attrs["message"]
    ends = {(t.params["do"], t.state.name, t.user_attrs.get("reason")) for t in retries}
    assert ends == {("kill", "FAIL", "killed"), ("linger", "COMPLETE", None)}
    assert {t.user_attrs["retry_of"] for t in retries} == {0, 1}
    spans = sorted(launched.facts(t.number)["start"] for t in retries)
    assert spans[1] - spans[0] >= 3  # one after the other: each was alone


class OneAtATime:
    """Jobs that run until they are cancelled, each with no other beside it."""

    capacity = 1

    def __init__(self):
        self.ran, self.is_over = [], threading.Event()

    def run(self, overrides, number, directory):
        self.ran.append(number)
        self.is_over.wait(HANG_TIMEOUT)
        return number

    def cancel(self, directory, number_of_signal):
        self.is_over.set()


def test_an_interrupt_also_ends_what_waits_to_be_alone(tmp_path):
    jobs = OneAtATime()
    launcher = ThreadedExecutor(jobs, tmp_path)
    futures = [launcher.submit([], 0)]
    wait_until(lambda: jobs.ran, "the first job")
    futures += [launcher.submit([], number) for number in (1, 2)]
    launcher.interrupt(signal.SIGTERM)
    assert futures[0].result(10) == 0
    for future in futures[1:]:
        with pytest.raises(TrialInterruptedError, match="before it began"):
            future.result(10)
    assert jobs.ran == [0]


@pytest.mark.parametrize("launched", WITH_PROCESSES, indirect=True)
def test_an_interrupt_ends_the_trials_and_the_same_command_runs_them_again(launched):
    sweeper = launched.start("seconds=30,31,0.1")
    launched.await_facts(0, 1)
    sweeper.send_signal(signal.SIGINT)
    assert sweeper.wait(HANG_TIMEOUT) == 130, launched.said()
    assert [t.user_attrs.get("reason") for t in launched.trials()[:2]] == ["interrupted"] * 2
    assert launched.states() == {"s": "KILLED", "trial-0": "KILLED", "trial-1": "KILLED"}
    assert all(gone(launched.facts(number)["pid"]) for number in (0, 1))
    assert not list(launched.path.glob("multirun/s/*/.pid"))
