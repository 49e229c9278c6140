"""A study whose sweeper was killed goes on, and its trials end as if nothing had happened."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest

from commands import command
from limits import HANG_TIMEOUT

SEARCH = (
    "seed=0,1",
    "hydra.sweeper.study=s",
    "trainer.max_epochs=8",
    "model.dropout=0.3",
    "model.hidden_size=16",
)


@pytest.mark.slow
def test_a_killed_study_ends_with_the_scores_of_one_that_was_not(tmp_path):
    program = Path(sys.executable).with_name("harnest-train")
    sweeper = subprocess.Popen(
        [program, "-m", *SEARCH], cwd=tmp_path, env=os.environ, stdout=subprocess.DEVNULL
    )
    started = tmp_path / "multirun/s/0/checkpoints/last.ckpt"
    deadline = time.monotonic() + HANG_TIMEOUT
    while not started.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    sweeper.send_signal(signal.SIGKILL)
    sweeper.wait()

    again = command("train", "-m", *SEARCH, folder=tmp_path)
    assert again.code == 0, again
    retried = (tmp_path / "multirun/s/2/.hydra/overrides.yaml").read_text()
    assert "resume=" in retried
    alone = {
        seed: command(
            "train", f"seed={seed}", *SEARCH[2:], "logger=none", folder=tmp_path
        ).err.split()
        for seed in (0, 1)
    }
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("harnest").experiment_id
    runs = client.search_runs([experiment], "tags.trial != ''")
    assert "RUNNING" not in {run.info.status for run in runs}
    finished = {
        int(run.data.params["seed"]): run.data.metrics["objective"]
        for run in runs
        if run.info.status == "FINISHED"
    }
    for seed, words in alone.items():
        said = float(words[words.index("=") + 1].rstrip(","))
        assert finished[seed] == pytest.approx(said, abs=5e-5)  # four digits are shown
