"""How busy the slots are kept: sleeping jobs of very different lengths, swept in three ways.

    python benchmarks/slots_busy.py [TRIALS [SLOTS]]

slots   this project's sweeper and launcher
joblib  this project's sweeper with Hydra's joblib launcher
stock   hydra-optuna-sweeper with Hydra's joblib launcher: batches, each as long as its longest job

The lengths are log-normal, median 3 s, one in twenty above 13 s; the same for each way. ``busy`` is
the share of the slots' time that jobs were running, from the first job's first line to the moment
at which the last job began: after that there is nothing to fill a slot with. ``took`` is from the
first job's beginning to the last one's end, in seconds; ``at best`` is what the slots would take
in the same order without a pause.
"""

import heapq
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

CONFIG = """
defaults:
  - _self_
  - override hydra/sweeper: {sweeper}
  - override hydra/launcher: {launcher}
x: 0
"""


def length(number: int) -> float:
    """How long a job sleeps, in seconds."""
    return random.Random(number).lognormvariate(1.1, 0.9)


def job(cfg: DictConfig) -> float:
    """Sleep, and note when."""
    running = HydraConfig.get()
    began = time.time()
    time.sleep(length(int(running.job.num)))
    span = json.dumps([began, time.time()])
    Path(running.runtime.output_dir, "span.json").write_text(span)
    return float(cfg.x)


def figures(trials: int = 40, slots: int = 4) -> dict[str, float]:
    """The busy share of the slots, by our launcher and by joblib's under our sweeper."""
    both = {name: way for name, way in ways(trials, slots).items() if name != "stock"}
    return {name: busy(measure(*way), slots) for name, way in both.items()}


def ways(trials: int, slots: int) -> dict[str, tuple[str, str, list[str]]]:
    """Sweeper, launcher and arguments of each way."""
    return {
        "slots": ("study", "slots", [f"hydra.launcher.cpu_slots={slots}", f"x=range({trials})"]),
        "joblib": ("study", "joblib", [f"hydra.launcher.n_jobs={slots}", f"x=range({trials})"]),
        "stock": (
            "optuna",
            "joblib",
            [
                f"hydra.launcher.n_jobs={slots}",
                f"hydra.sweeper.n_jobs={slots}",
                f"hydra.sweeper.n_trials={trials}",
                f"x=range({trials})",
            ],
        ),
    }


def main() -> None:
    """Compare the three ways."""
    trials, slots = (int(text) for text in [*sys.argv[1:3], "40", "4"][:2])
    print(f"{trials} trials on {slots} slots")
    print(f"{'':8}{'busy':>8}{'took':>8}{'at best':>10}")
    for name, way in ways(trials, slots).items():
        spans = measure(*way)
        took = max(end for _, end in spans) - spans[0][0]
        print(
            f"{name:8}{busy(spans, slots):>8.1%}{took:>8.1f}{at_best(trials, slots):>10.1f}",
            flush=True,
        )


def measure(sweeper: str, launcher: str, arguments: list[str]) -> list[tuple[float, float]]:
    """Sweep once; when each job began and ended, in the order of their beginnings."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "app.yaml").write_text(CONFIG.format(sweeper=sweeper, launcher=launcher))
        subprocess.run(
            [sys.executable, __file__, "-m", f"hydra.sweep.dir={folder}/jobs", *arguments],
            cwd=folder,
            env=os.environ | {"SLOTS_BUSY_CONFIG": str(folder)},
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return sorted(tuple(json.loads(f.read_text())) for f in folder.glob("jobs/*/span.json"))


def busy(spans: list[tuple[float, float]], slots: int) -> float:
    """The share of the slots' time that jobs were running, until the last one began."""
    began, last = spans[0][0], spans[-1][0]
    running = sum(min(end, last) - start for start, end in spans)
    return running / (slots * (last - began))


def at_best(trials: int, slots: int) -> float:
    """When the last slot is done if each takes the next job at once, in seconds."""
    free = [0.0] * slots
    for number in range(trials):
        heapq.heapreplace(free, free[0] + length(number))
    return max(free)


if __name__ == "__main__":
    if "SLOTS_BUSY_CONFIG" in os.environ:
        hydra.main(config_path=os.environ["SLOTS_BUSY_CONFIG"], config_name="app")(job)()
    else:
        main()
