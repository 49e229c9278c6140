"""What a trial costs beside its work: a job that does nothing, swept in three ways.

    python benchmarks/trial_cost.py [TRIALS]

slots   this project's sweeper and launcher, a fresh process for each trial
cold    a new Python process for each trial, as a shell script would start it
stock   hydra-optuna-sweeper with Hydra's basic launcher, all trials in one process

``before`` is from the decision for a trial to the first line of its job, ``after`` from the job's
last line to the moment at which the study knows its result, ``from one to the next`` from a job's
last line to the next one's first. All are medians, in seconds; the jobs import torch, Lightning
and MLflow, as trials do.
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
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

CONFIG = """
defaults:
  - _self_
  - override hydra/sweeper: {sweeper}
  - override hydra/launcher: {launcher}
x: 0.0
hydra:
  {extra}
"""
SLOTS = (
    "launcher: {cpu_slots: 1, preload: [torch, pytorch_lightning, mlflow]}\n  sweeper: {study: s}"
)


def job(cfg: DictConfig) -> float:
    """Note when it began and when it ended; nothing else."""
    import mlflow  # noqa: F401
    import pytorch_lightning  # noqa: F401
    import torch  # noqa: F401

    began = time.time()
    directory = Path(HydraConfig.get().runtime.output_dir)
    (directory / "job.json").write_text(json.dumps([began, time.time()]))
    return float(cfg.x)


def figures(trials: int = 10) -> dict[str, float]:
    """Seconds before a job and after it, and those before a job in a new Python process."""
    with tempfile.TemporaryDirectory() as folder:
        before, after, _ = measure("slots", trials, Path(folder) / "slots")
        cold, _, _ = measure("cold", trials, Path(folder) / "cold")
    return {
        "before": statistics.median(before),
        "after": statistics.median(after),
        "cold": statistics.median(cold),
    }


def main() -> None:
    """Compare the three ways."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as folder:
        rows = {
            name: measure(name, trials, Path(folder) / name) for name in ("slots", "cold", "stock")
        }
    print(f"{trials} trials, medians in seconds")
    print(f"{'':8}{'before':>10}{'after':>10}{'from one to the next':>24}")
    for name, spans in rows.items():
        before, after, gap = map(median, spans)
        print(f"{name:8}{before:>10}{after:>10}{gap:>24}")


def measure(name: str, trials: int, folder: Path) -> tuple[list[float], list[float], list[float]]:
    """Run ``trials`` jobs in one of the three ways; the seconds of each before, after, between."""
    folder.mkdir()
    extra = SLOTS if name == "slots" else "verbose: false"
    sweeper = {"slots": "study", "cold": "basic", "stock": "optuna"}[name]
    launcher = "slots" if name == "slots" else "basic"
    config = CONFIG.format(sweeper=sweeper, launcher=launcher, extra=extra)
    (folder / "app.yaml").write_text(config)
    decided: list[float] = []
    after: list[float] = []
    if name == "cold":
        for number in range(trials):
            decided.append(time.time())
            run(folder, f"x={number}", f"hydra.run.dir={folder}/s/{number}")
        directory = folder / "s"
    elif name == "stock":
        searched = f"x={','.join(map(str, range(trials)))}"
        budget = [f"hydra.sweeper.n_trials={trials}", "hydra.sweeper.n_jobs=1"]
        run(folder, "-m", searched, f"hydra.sweep.dir={folder}/s", *budget)
        directory = folder / "s"
    else:
        run(folder, "-m", f"x={','.join(map(str, range(trials)))}")
        directory = folder / "multirun" / "s"
    spans = [json.loads((directory / f"{n}/job.json").read_text()) for n in range(trials)]
    gaps = [later[0] - earlier[1] for earlier, later in pairwise(spans)]
    if name == "slots":
        decided, told = told_by_optuna(directory)
        after = [then - span[1] for then, span in zip(told, spans, strict=True)]
    before = [span[0] - then for then, span in zip(decided, spans, strict=bool(decided))]
    return before, after, gaps


def run(folder: Path, *arguments: str) -> None:
    """Start this file as an application in ``folder``."""
    subprocess.run(
        [sys.executable, __file__, *arguments],
        cwd=folder,
        env=os.environ | {"TRIAL_COST_CONFIG": str(folder)},
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def told_by_optuna(directory: Path) -> tuple[list[float], list[float]]:
    """When each trial was decided on, and when its result was known."""
    import optuna

    from harnest.study.storage.optuna_storage import journal_address, open_storage

    study = optuna.load_study(study_name="s", storage=open_storage(journal_address(directory)))
    starts = [trial.datetime_start.timestamp() for trial in study.trials if trial.datetime_start]
    ends = [t.datetime_complete.timestamp() for t in study.trials if t.datetime_complete]
    return starts, ends


def median(seconds: list[float]) -> str:
    """A median to show, or a dash where there is nothing to measure."""
    return f"{statistics.median(seconds):.3f}" if seconds else "-"


if __name__ == "__main__":
    if "TRIAL_COST_CONFIG" in os.environ:
        hydra.main(config_path=os.environ["TRIAL_COST_CONFIG"], config_name="app")(job)()
    else:
        main()
