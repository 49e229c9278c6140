"""Two hosts on one study, with nothing between them but a network: a database, MLflow, and cables.

A dead host's trials are taken over after seconds here, where users wait for minutes: nothing else
about the command is changed.
"""

import shutil
import sys
import time
from collections import Counter
from dataclasses import dataclass

import mlflow
import optuna
import pytest
import sqlalchemy

import databases
from hosts import hosts
from limits import HANG_TIMEOUT
from servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

BUDGET = 14
GRACE = 10  # seconds
COMMAND = (
    "from harnest.study.storage import lease\n"
    f"lease.INTERVAL, lease.GRACE = 2, {GRACE}\n"
    "from harnest.cli.train import main\n"
    "main()"
)


@dataclass
class Lab:
    """Two hosts, their servers, and the command that both of them are given."""

    hosts: list
    database: str
    tracking: str
    here: str

    def start(self, host):
        return host.start(
            *(sys.executable, "-c", COMMAND, "-m"),
            *("hydra.sweeper.study=shared", f"hydra.sweeper.n_trials={BUDGET}"),
            *(
                "trainer=cpu",
                "trainer.max_epochs=3",
                "model.hidden_size=8,16",
                "data.batch_size=128",
            ),
            *("optimizer.lr=interval(1e-4,1e-2)", "hydra.launcher.cpu_slots=1"),
            "hydra.sweeper.storage=${oc.env:STUDY_STORAGE}",
            f"logger.mlflow.tracking_uri={self.tracking}",
            STUDY_STORAGE=self.database,
        )

    def trials(self):
        # Each time anew, and asked often: no connection may stay open.
        storage = optuna.storages.RDBStorage(self.here, {"poolclass": sqlalchemy.NullPool})
        try:
            return optuna.load_study(study_name="shared", storage=storage).trials
        except KeyError:
            return []  # not made yet

    def runs(self):
        client = mlflow.MlflowClient(self.tracking)
        experiment = client.get_experiment_by_name("harnest")
        return client.search_runs([experiment.experiment_id], max_results=1000)


@pytest.fixture
def lab(tmp_path, empty_store):
    with hosts(tmp_path) as (address, both), databases.postgresql(address) as server:
        (tmp_path / "mlflow").mkdir()
        shutil.copy(empty_store, tmp_path / "mlflow/mlflow.db")
        tracking = Server(tmp_path / "mlflow", address)
        tracking.start()
        try:
            here = server.new_database()
            there = here.replace("127.0.0.1", address)
            yield Lab(both, there, tracking.address, here)
        finally:
            tracking.kill()


def both_at_work(lab):
    """Wait until some trials have ended, and the second host is in the middle of one."""
    deadline = time.monotonic() + HANG_TIMEOUT
    two = lab.hosts[1]
    while not (
        sum(t.state.is_finished() for t in lab.trials()) >= 3
        and list(two.folder.glob("multirun/shared/*/.pid"))
    ):
        assert time.monotonic() < deadline, [host.said() for host in lab.hosts]
        time.sleep(0.02)


def numbers(host):
    return {int(path.name) for path in host.folder.glob("multirun/shared/[0-9]*")}


def is_right(lab, died):
    """The budget is spent, once; each trial is one run, nested, and none is left running."""
    one, two = lab.hosts
    trials = lab.trials()
    reasons = Counter(t.user_attrs.get("reason") for t in trials)
    assert reasons == {None: BUDGET, "interrupted": died}, [h.said() for h in lab.hosts]
    assert {t.state.name for t in trials if "reason" not in t.user_attrs} == {"COMPLETE"}
    assert numbers(one) | numbers(two) == set(range(BUDGET + died))
    assert not numbers(one) & numbers(two)
    runs = lab.runs()
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    nested = {run.info.run_name: run for run in runs if run is not parent}
    assert set(nested) == {f"trial-{t.number}" for t in trials}
    assert len(runs) == 1 + len(trials)
    for trial in trials:
        run = nested[f"trial-{trial.number}"]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        told = "KILLED" if "reason" in trial.user_attrs else "FINISHED"
        assert run.info.status == told
    assert parent.info.status == "FINISHED"


def test_hosts_share_a_budget_and_one_goes_on_for_another_that_dies(lab):
    one, two = lab.hosts
    first, second = lab.start(one), lab.start(two)
    both_at_work(lab)
    assert numbers(one), one.said()
    two.kill()
    assert second.wait(10) == -9
    assert first.wait(HANG_TIMEOUT) == 0, one.said()
    is_right(lab, 1)


def test_a_host_that_is_cut_off_loses_its_trial_and_goes_on_once_it_is_back(lab):
    one, two = lab.hosts
    first, second = lab.start(one), lab.start(two)
    both_at_work(lab)
    two.cut_off()
    assert first.wait(HANG_TIMEOUT) == 0, one.said()
    two.plug_in()
    assert second.wait(HANG_TIMEOUT) == 0, two.said()
    is_right(lab, 1)
