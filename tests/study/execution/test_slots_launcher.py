"""Jobs in processes of their own: what kills one, and what becomes of the rest."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import mlflow
import pytest

from foreign_bench import wait_until
from harnest.core.errors import StudyError
from harnest.study.execution.slot import find_slots
from limits import HANG_TIMEOUT
from mortal_bench import Folder, gone


def test_each_death_ends_its_own_trial_alone_with_its_reason(folder):
    deaths = {
        "finish": ("COMPLETE", None),
        "forget": ("COMPLETE", None),  # what the sweeper has told its process
        "kill": ("FAIL", "killed"),
        "crash": ("FAIL", "killed"),
        "leave": ("FAIL", "killed"),
        "vanish": ("FAIL", "killed"),
        "signal": ("FAIL", "killed"),
        "memory": ("FAIL", "oom"),
        "diverge": ("FAIL", "nan"),
        "error": ("FAIL", "error"),
        "disk": ("FAIL", "error"),
    }
    folder.sweep(
        f"do={','.join(deaths)}",
        "seconds=0.5",
        "hydra.launcher.cpu_slots=11",
        "hydra.sweeper.max_failure_rate=1",
    )
    assert folder.endings() == deaths
    runs = folder.runs()
    by_do = {trial.params["do"]: trial.number for trial in folder.trials()}
    client = mlflow.MlflowClient(f"sqlite:///{folder.path}/mlflow.db")
    for do, (_, reason) in deaths.items():
        run = runs[f"trial-{by_do[do]}"]
        assert run.info.status == ("FINISHED" if reason is None else "FAILED")
        assert run.data.tags.get("reason") == reason
        output = (folder.path / f"multirun/s/{by_do[do]}/output.log").read_text()
        assert output.startswith("alive")
        if reason is not None:
            assert "output.log" in {file.path for file in client.list_artifacts(run.info.run_id)}
            assert not (folder.path / f"multirun/s/{by_do[do]}/.pid").exists()
        assert ("end" in folder.facts(by_do[do])) == (reason is None)
    assert runs["s"].info.status == "FINISHED"
    assert "SIGSEGV" in runs[f"trial-{by_do['crash']}"].data.tags["message"]
    assert runs[f"trial-{by_do['vanish']}"].data.tags["message"].endswith("died: exit code 0")
    assert runs[f"trial-{by_do['signal']}"].data.tags["message"].endswith("died: signal 40")
    assert "exit code 3" in runs[f"trial-{by_do['leave']}"].data.tags["message"]


def test_a_trial_that_hangs_is_ended_at_its_time_out(folder):
    folder.sweep("do=hang", "seconds=0", "hydra.launcher.timeout=8", code=2)
    (trial,) = folder.trials()
    assert (trial.state.name, trial.user_attrs["reason"]) == ("FAIL", "timeout")
    run = folder.runs()["trial-0"]
    assert (run.info.status, run.data.tags["reason"]) == ("FAILED", "timeout")
    assert not (folder.path / "multirun/s/0/.pid").exists()


def test_a_study_goes_on_when_the_processes_that_wait_for_its_trials_are_killed(folder):
    folder.sweep("do=cull,finish", "hydra.launcher.cpu_slots=1")
    assert folder.endings() == {"cull": ("FAIL", "killed"), "finish": ("COMPLETE", None)}


@pytest.mark.slow
def test_what_a_trial_leaves_running_does_not_keep_the_next_ones_from_their_processes(folder):
    ends = [f"detach-{number}" for number in range(3)]
    folder.sweep(f"do={','.join(ends)}", "hydra.launcher.cpu_slots=1")
    assert folder.endings() == dict.fromkeys(ends, ("COMPLETE", None))


def test_a_freed_slot_is_refilled_while_a_long_trial_runs_on(folder):
    sweeper = folder.start("seconds=300,0.1,0.11,0.12,0.13,0.14")
    folder.await_facts(0, 1, 2, 3, 4, 5)
    wait_until(lambda: all("end" in folder.facts(number) for number in range(1, 6)), "their ends")
    long, *short = [folder.facts(number) for number in range(6)]
    assert "end" not in long
    folder.stop(sweeper)
    pids = {fact["pid"] for fact in [long, *short]}
    assert len(pids) == 6  # a process each
    spans = sorted((fact["start"], fact["end"]) for fact in short)
    overlaps = [first[1] > second[0] for first, second in pairwise(spans)]
    assert not any(overlaps)  # on the one slot that was left


def test_hydra_s_own_sweeper_runs_all_jobs_and_tells_of_the_one_that_died(folder):
    assert (
        folder.start("hydra/sweeper=basic", "do=finish,kill,error,finish-1").wait(HANG_TIMEOUT) == 2
    )
    jobs = sorted(folder.path.glob("multirun/*/*/*/facts.json"))
    assert ["end" in json.loads(job.read_text()) for job in jobs] == [True, False, False, True]
    assert "the trial's process died: SIGKILL" in folder.said()


def test_the_stock_optuna_sweeper_counts_jobs_that_died_as_failed(folder):
    sweeper = folder.start(
        "hydra/sweeper=optuna",
        "hydra/sweeper/sampler=random",
        "hydra.sweeper.sampler.seed=1",
        "hydra.sweeper.n_trials=6",
        "hydra.sweeper.n_jobs=3",
        "hydra.sweeper.max_failure_rate=1",
        "do=choice(kill,finish)",
        "seconds=0.25",
    )
    assert sweeper.wait(HANG_TIMEOUT) == 0, folder.said()
    (results,) = folder.path.glob("multirun/*/*/optimization_results.yaml")
    assert "best_value: 0.25" in results.read_text()
    facts = [json.loads(file.read_text()) for file in folder.path.glob("multirun/*/*/*/facts.json")]
    died = sum("end" not in one for one in facts)
    assert 0 < died < len(facts) == 6
    assert folder.said().count("Failed experiment") == died


@pytest.mark.slow
def test_an_interrupt_stops_all_trials_and_the_same_command_runs_them_again(folder):
    command = ("seconds=30,31,32",)
    sweeper = folder.start(*command)
    folder.await_facts(0, 1)
    folder.stop(sweeper)
    assert [t.user_attrs.get("reason") for t in folder.trials()[:2]] == ["interrupted"] * 2
    assert folder.states() == {"s": "KILLED", "trial-0": "KILLED", "trial-1": "KILLED"}
    assert "the same command resumes it" in folder.said()

    # Interrupted ones run again as linked retries; to see them end they are killed here.
    sweeper = folder.start(*command)
    folder.await_facts(3, 4)  # before the one that waits
    assert [t.user_attrs.get("retry_of") for t in folder.trials()[3:5]] == [0, 1]
    assert folder.states()["s"] == "RUNNING"
    folder.stop(sweeper, signal.SIGTERM)
    assert "RUNNING" not in folder.states().values()


def await_line(sweeper, folder, line):
    while line not in folder.said():
        assert sweeper.poll() is None, folder.said()
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("line", ["study s", "trial 0 started"])
def test_ctrl_c_at_a_terminal_ends_a_sweep_that_has_just_begun(folder, line):
    sweeper = folder.start("seconds=300,301", before=os.setsid)
    await_line(sweeper, folder, line)
    folder.stop(sweeper, send=os.killpg)  # all processes of a terminal hear it
    assert "Traceback" not in folder.said()
    if (folder.path / "multirun/s").exists():  # nothing stays of a study without a trial
        reasons = {trial.user_attrs.get("reason") for trial in folder.trials()}
        assert reasons <= {"interrupted", None}
        assert set(folder.states().values()) == {"KILLED"}


@pytest.mark.slow
def test_an_interrupt_of_the_sweeper_alone_ends_jobs_that_have_not_begun(folder):
    sweeper = folder.start("seconds=300,301")
    await_line(sweeper, folder, "trial 1 started")
    folder.stop(sweeper)
    assert set(folder.states().values()) == {"KILLED"}


def test_an_interrupt_takes_no_result_from_a_job_that_has_just_ended(folder):
    """What it returned is on its way: no process runs it any more, and nothing is known of it."""
    sweeper = folder.start("do=finish-slowly", "seconds=0.1,100", "hydra.launcher.cpu_slots=2")
    folder.await_facts(0, 1)
    ended = folder.path / "multirun/s/0/.pid"
    while ended.exists():
        time.sleep(0.01)
    folder.stop(sweeper)
    ends = [(trial.state.name, trial.value) for trial in folder.trials()]
    assert ends == [("COMPLETE", 0.1), ("FAIL", None)]


@pytest.mark.slow
def test_a_second_interrupt_does_not_wait_for_a_trial_that_ignores_the_first(folder, monkeypatch):
    monkeypatch.setenv("SWEEPER_GRACE", "3600")
    sweeper = folder.start("seconds=300,301", "do=ignore")
    folder.await_facts(0, 1)
    sweeper.send_signal(signal.SIGINT)
    time.sleep(1)
    assert sweeper.poll() is None  # it waits for its trials
    folder.stop(sweeper)
    assert all(gone(folder.facts(number)["pid"]) for number in (0, 1))
    assert set(folder.states().values()) == {"KILLED"}


@pytest.mark.slow
def test_trials_end_with_a_killed_sweeper_and_the_next_one_reaps_them(folder):
    sweeper = folder.start("seconds=300,0.1")
    folder.await_facts(0, 1)
    sweeper.kill()
    sweeper.wait()
    assert gone(folder.facts(0)["pid"])
    assert folder.trials()[0].state.name == "RUNNING"  # nobody was left to tell

    sweeper = folder.start("seconds=300,0.1")
    folder.await_facts(2)
    assert folder.trials()[0].user_attrs["reason"] == "interrupted"
    wait_until(lambda: folder.states()["trial-0"] == "KILLED", "the end of its run")
    folder.stop(sweeper, signal.SIGTERM)
    assert "RUNNING" not in folder.states().values()


@pytest.mark.slow
def test_each_trial_sees_its_own_share_of_the_machine(folder, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,MIG-7")
    monkeypatch.delenv("OMP_NUM_THREADS")
    options = ("hydra.launcher.per_gpu=2", "hydra.launcher.preload=[torch]")
    folder.sweep("seconds=0.5,0.51,0.52,0.53", *options)
    facts = [folder.facts(number) for number in range(4)]
    assert sorted(one["CUDA_VISIBLE_DEVICES"] for one in facts) == ["4", "4", "MIG-7", "MIG-7"]
    share = max(1, len(os.sched_getaffinity(0)) // 4)
    assert {(one["OMP_NUM_THREADS"], one["threads"]) for one in facts} == {(str(share), share)}
    assert not any(one["cuda"] for one in facts)  # the warm process made no context


SCRIPT = """
import os
import hydra
from hydra.utils import instantiate

seen = os.environ.get("CUDA_VISIBLE_DEVICES")

class Scale:
    def __init__(self, x):
        self.x = x

@hydra.main(config_path=None, config_name="app")
def job(cfg):
    import __main__
    print("imported with", __main__.seen)
    return instantiate(cfg.scale, x=cfg.x, _execution_whitelist_=["__main__.*", "__mp_main__.*"]).x
"""
CONFIG = """
from hydra.core.config_store import ConfigStore
ConfigStore.instance().store(name="app", node={
    "defaults": [
        "_self_", {"override hydra/sweeper": "study"}, {"override hydra/launcher": "slots"}
    ],
    "hydra": {"sweeper": {"study": "s"}},
    "scale": {"_target_": "__main__.Scale"},
    "x": 0,
})
"""


def test_a_script_is_imported_by_a_trial_that_knows_its_card(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT + CONFIG + 'if __name__ == "__main__":\n    job()\n')
    run_script(script, code=0)
    outputs = [(tmp_path / f"multirun/s/{n}/output.log").read_text() for n in range(2)]
    assert sorted(outputs) == ["imported with 4\n", "imported with 5\n"]


def test_a_script_that_runs_when_imported_is_told_what_to_do(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT + CONFIG + "job()\n")
    assert 'put its call under if __name__ == "__main__":' in run_script(script, code=1)


OUTSIDE = """
import os
import sys
import hydra
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback

getstate = JobReturn.__getstate__

def counted(self):
    print("pickled", file=sys.stderr, flush=True)
    return getstate(self)

JobReturn.__getstate__ = counted

class Forget(Callback):
    def on_job_start(self, config, **kwargs):
        if config.x == 1:
            del os.environ["HARNEST_TRIAL"]

@hydra.main(config_path=None, config_name="app", execution_whitelist="__main__.*")
def job(cfg):
    return cfg.x

from hydra.core.config_store import ConfigStore
ConfigStore.instance().store(name="app", node={
    "defaults": [
        "_self_", {"override hydra/sweeper": "study"}, {"override hydra/launcher": "slots"}
    ],
    "hydra": {
        "sweeper": {"study": "s"},
        "launcher": {"cpu_slots": 1},
        "callbacks": {"forget": {"_target_": "__main__.Forget"}},
    },
    "x": 0,
})
if __name__ == "__main__":
    job()
"""


def test_an_error_outside_of_the_task_fails_its_trial_without_delay(tmp_path):
    """Hydra lets the error and the return hold each other: pickled once, and not for ever."""
    script = tmp_path / "script.py"
    script.write_text(OUTSIDE)
    run_script(script, code=0)
    trials = Folder(tmp_path).trials()
    assert [trial.state.name for trial in trials] == ["FAIL", "COMPLETE"]
    assert trials[0].user_attrs["message"] == "KeyError: 'HARNEST_TRIAL'"
    assert "env_override" in trials[0].user_attrs["details"]
    for number in range(2):
        printed = (tmp_path / f"multirun/s/{number}/output.log").read_text()
        assert printed.count("pickled") == 1


def run_script(script, code):
    done = subprocess.run(
        [sys.executable, script, "-m", "x=1,2"], cwd=script.parent, capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("hydra.launcher.per_gpu=0.5", "hydra.launcher.per_gpu=0.5: it must be a whole number"),
        ("hydra.launcher.timeout=0", "hydra.launcher.timeout=0: it must be a number above 0"),
        ("hydra.launcher.timeout=soon", "hydra.launcher.timeout=soon: it must be a number above 0"),
        (
            "hydra.launcher.preload=[torhc.nn]",
            "hydra.launcher.preload: there is no module torhc.nn",
        ),
        ("hydra.sweeper.max_failure_rate=7", "max_failure_rate=7: it must be from 0 to 1"),
    ],
)
def test_a_launcher_that_cannot_be_is_refused_before_the_first_trial(folder, option, told):
    folder.sweep("seconds=1,2", option, code=2)
    assert folder.said().strip().startswith(told)
    assert not (folder.path / "multirun").exists()


@pytest.mark.parametrize(
    ("visible", "asked", "gpus"),
    [
        (None, {"gpus": "none", "cpu_slots": 3}, [None, None, None]),
        ("0,1", {"gpus": "auto"}, ["0", "1"]),
        ("0,1", {"gpus": [1], "per_gpu": 3}, ["1", "1", "1"]),
        ("0,1", {"gpus": 1, "per_gpu": 2}, ["1", "1"]),
        ("0,1", {"gpus": "none", "cpu_slots": 1}, [None]),
        ("", {"gpus": "auto", "cpu_slots": 2}, [None, None]),
        ("0,-1,1", {"gpus": "auto"}, ["0"]),
        ("GPU-1a, MIG-2b", {"gpus": "auto", "per_gpu": 2}, ["GPU-1a"] * 2 + ["MIG-2b"] * 2),
        ("GPU-1a,MIG-2b", {"gpus": ["MIG-2b"]}, ["MIG-2b"]),
    ],
)
def test_slots_are_shares_of_cards_or_of_cores(monkeypatch, visible, asked, gpus):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
    slots = find_slots(**{"per_gpu": 1, "cpu_slots": "auto"} | asked)
    assert [slot.gpu for slot in slots] == gpus
    assert [slot.number for slot in slots] == list(range(len(gpus)))
    assert all(slot.threads >= 1 for slot in slots)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"gpus": [3]}, "no GPU 3"),
        ({"gpus": 3}, "no GPU 3"),
        ({"gpus": "some"}, "auto, none or a list"),
        ({"gpus": None}, "auto, none or a list"),
        ({"gpus": "none", "cpu_slots": 0}, "cpu_slots=0: it must be a whole number"),
        ({"gpus": "none", "cpu_slots": "many"}, "cpu_slots=many: it must be a whole number"),
        ({"gpus": "auto", "per_gpu": 0}, "per_gpu=0: it must be a whole number"),
        ({"gpus": "auto", "per_gpu": 0.5}, "per_gpu=0.5: it must be a whole number"),
    ],
)
def test_slots_that_cannot_be_are_refused(monkeypatch, asked, told):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(StudyError, match=told):
        find_slots(**{"per_gpu": 1, "cpu_slots": "auto"} | asked)
