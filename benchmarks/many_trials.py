"""What a trial costs in a large study: around the 1,000th trial, beside the 10th.

    python benchmarks/many_trials.py [TRIALS]

A study of jobs that do nothing, by this project's sweeper and launcher on one slot, with the random
sampler, in the journal that is the default, each trial with its run in MLflow. A trial's cost is
from the end of the job before it to its own first line: that one's result is told, recorded and
listed, the next trial is decided on and recorded, its process starts. ``10th`` is of trials 5 to
15, ``1,000th`` of as many around TRIALS (default 1,000), both in the middle of a session.

The trials between are run by the same sweeper and recorded in the same way, only that their jobs
return at once, without a process of their own. The medians are compared; the means, which have the
table that every fiftieth trial writes, are shown as well.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from omegaconf import DictConfig
from storages import Instant

AROUND = 5  # trials on either side of the 10th and of the 1,000th
CONFIG = """
defaults:
  - _self_
  - override hydra/sweeper: study
  - override hydra/sweeper/sampler: random
  - override hydra/launcher: slots
x: 0.0
y: 0.0
hydra:
  sweeper: {study: s}
  callbacks:
    mlflow:
      _target_: harnest.tracking.study_record.StudyRecord
      tracking_uri: sqlite:///mlflow.db
      experiment: many
"""
ON_A_SLOT = ("hydra.launcher.cpu_slots=1", "hydra.launcher.preload=[mlflow]")


def figures(trials: int = 1000) -> dict[str, float]:
    """Seconds of a trial around the 10th and around the last, and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "app.yaml").write_text(CONFIG)
        sweep(folder, 10 + 2 * AROUND, *ON_A_SLOT)
        sweep(folder, trials - 3 * AROUND, "hydra/launcher=instant")
        sweep(folder, trials + 2 * AROUND, *ON_A_SLOT)
        early, late = (costs(folder / "multirun" / "s", number) for number in (10, trials))
    return {
        "early": statistics.median(early),
        "late": statistics.median(late),
        "ratio": statistics.median(late) / statistics.median(early),
        "early mean": statistics.fmean(early),
        "late mean": statistics.fmean(late),
    }


def costs(study: Path, number: int) -> list[float]:
    """Seconds of each trial around this one."""
    numbers = range(number - AROUND - 1, number + AROUND + 1)
    spans = [json.loads((study / f"{one}/job.json").read_text()) for one in numbers]
    return [later[0] - earlier[1] for earlier, later in pairwise(spans)]


def sweep(folder: Path, budget: int, *arguments: str) -> None:
    """Start this file as an application that goes on with the study up to ``budget`` trials."""
    searches = ("x=interval(0,1)", "y=interval(0,1)")
    done = subprocess.run(
        [sys.executable, __file__, "-m", *searches, f"hydra.sweeper.n_trials={budget}", *arguments],
        cwd=folder,
        env=os.environ | {"MANY_TRIALS_CONFIG": str(folder)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stderr)


def job(cfg: DictConfig) -> float:
    """Note when it began and when it ended; nothing else."""
    began = time.time()
    directory = Path(HydraConfig.get().runtime.output_dir)
    (directory / "job.json").write_text(json.dumps([began, time.time()]))
    return float(cfg.x)


def application() -> None:
    """Be the application."""
    Plugins.instance().register(Instant)
    ConfigStore.instance().store(
        group="hydra/launcher", name="instant", node={"_target_": "storages.Instant"}
    )
    trusted = ("harnest.*", "storages.Instant")
    hydra.main(os.environ["MANY_TRIALS_CONFIG"], "app", execution_whitelist=trusted)(job)()


def main() -> None:
    """Print both costs."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    found = figures(trials)
    print(f"seconds a trial\n{'':10}{'median':>8}{'mean':>8}")
    for name, when in (("10th", "early"), (f"{trials:,}th", "late")):
        print(f"{name:10}{found[when]:>8.3f}{found[f'{when} mean']:>8.3f}")
    print(f"ratio of the medians: {found['ratio']:.2f}")


if __name__ == "__main__":
    application() if "MANY_TRIALS_CONFIG" in os.environ else main()
