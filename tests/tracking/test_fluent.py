"""MLflow's fluent API in a trial: what it logs is in the trial's run, whatever the launcher."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

APP = Path(__file__).parents[1] / "support/foreign/fluent_app.py"

pytestmark = pytest.mark.slow


@pytest.fixture
def sweep(store, client, tmp_path):
    """Sweep two trials in a process of its own; gives the runs of all experiments, by name."""

    def run(*arguments):
        command = [sys.executable, str(APP), "-m", "x=1,2", "hydra.sweeper.study=s"]
        environment = os.environ | {"STORE": store}
        environment.pop("MLFLOW_TRACKING_URI", None)
        answer = subprocess.run(
            [*command, "callbacks@hydra.callbacks=mlflow", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr + answer.stdout
        experiments = [one.experiment_id for one in client.search_experiments()]
        return client.search_runs(experiments)

    return run


@pytest.mark.parametrize(
    ("launcher", "how"),
    [
        ("slots", "log"),
        ("slots", "start"),
        ("slots", "experiment"),
        ("basic", "start"),
        ("joblib", "log"),
    ],
)
def test_what_is_logged_is_in_the_trials_run(sweep, launcher, how):
    found = sweep(f"hydra/launcher={launcher}", f"text={how}")
    runs = {run.info.run_name: run for run in found}
    assert len(found) == 3  # no stray run in any experiment
    for number, x in enumerate((1.0, 2.0)):
        run = runs[f"trial-{number}"]
        assert run.info.status == "FINISHED"
        assert run.data.metrics["m"] == run.data.metrics["objective"] == x
        assert run.data.metrics.get("n") == (x if how == "start" else None)


def test_a_nested_run_that_is_left_active_is_ended_with_its_trial(sweep):
    runs = sweep("hydra/launcher=slots", "text=nested")
    trials = {run.info.run_id for run in runs if run.info.run_name.startswith("trial-")}
    inner = [run for run in runs if run.info.run_name == "inner"]
    assert {run.data.tags["mlflow.parentRunId"] for run in inner} == trials
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len({run.info.experiment_id for run in runs}) == 1
