"""A bench for sweeps of the mortal application by processes of their own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import optuna
import pytest

from limits import HANG_TIMEOUT

APP = Path(__file__).with_name("mortal_app.py")


class Folder:
    """A folder in which the application is swept by processes of its own."""

    def __init__(self, path, launcher="slots", *options):
        self.path = path
        self.launcher = (f"hydra/launcher={launcher}", *options)

    def start(self, *arguments, before=lambda: None):
        """Start a sweep; ``before`` is called in its process, before anything else."""

        def prepare():
            # As from a terminal: a shell's background job would ignore Ctrl-C.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            before()

        is_stock = any(one.startswith("hydra/sweeper=") for one in arguments)
        named = () if is_stock else ("hydra.sweeper.study=s",)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HARNEST_")}
        with (self.path / "out.txt").open("ab") as out:
            return subprocess.Popen(
                [sys.executable, str(APP), "-m", *self.launcher, *named, *arguments],
                cwd=self.path,
                env=environment | {"PYTHONUNBUFFERED": "1"},
                stdout=out,
                stderr=out,
                preexec_fn=prepare,
            )

    def sweep(self, *arguments, code=0):
        assert self.start(*arguments).wait(HANG_TIMEOUT) == code, self.said()

    def stop(self, sweeper, number=signal.SIGINT, send=os.kill):
        """Interrupt a sweep, which ends by itself."""
        send(sweeper.pid, number)
        assert sweeper.wait(HANG_TIMEOUT) == 130, self.said()

    def said(self):
        return (self.path / "out.txt").read_text()

    def facts(self, number):
        return json.loads((self.path / f"multirun/s/{number}/facts.json").read_text())

    def trials(self):
        journal = optuna.storages.journal.JournalFileBackend(
            str(self.path / "multirun/s/study.journal")
        )
        storage = optuna.storages.JournalStorage(journal)
        return optuna.load_study(study_name="s", storage=storage).trials

    def endings(self):
        """State and reason of each trial, by what it was told to do."""
        return {
            trial.params["do"]: (trial.state.name, trial.user_attrs.get("reason"))
            for trial in self.trials()
        }

    def runs(self):
        """MLflow's runs by name."""
        client = mlflow.MlflowClient(f"sqlite:///{self.path}/mlflow.db")
        experiment = client.get_experiment_by_name("mortal")
        found = client.search_runs([experiment.experiment_id], max_results=1000)
        return {run.info.run_name: run for run in found}

    def states(self):
        return {name: run.info.status for name, run in self.runs().items()}

    def await_facts(self, *numbers):
        deadline = time.monotonic() + HANG_TIMEOUT
        while not all((self.path / f"multirun/s/{n}/facts.json").exists() for n in numbers):
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)


@pytest.fixture
def folder(tmp_path, empty_store):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return Folder(tmp_path, "slots", "hydra.launcher.cpu_slots=2")


def gone(pid):
    deadline = time.monotonic() + HANG_TIMEOUT
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
