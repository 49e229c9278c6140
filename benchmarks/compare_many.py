"""How long harnest-compare takes on a large study, as a process, imports and all.

    python benchmarks/compare_many.py [TRIALS]

Fills a new store with one study of that many trials (default 1,000), each with the parameters,
metrics and tags of a real run, and times ``harnest-compare`` on it. The median and the range of
five times are printed, beside what importing MLflow alone takes: the ratio says how much is ours.
"""

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mlflow.entities import Metric, Param, RunTag
from optuna.distributions import FloatDistribution, IntDistribution, distribution_to_json

from harnest.tracking.store import experiment_id, open_store

SPACE = {
    "optimizer.lr": FloatDistribution(1e-4, 1e-1, log=True),
    "model.hidden_size": IntDistribution(16, 256),
    "model.dropout": FloatDistribution(0.0, 0.5),
    "seed": IntDistribution(0, 2),
}
TIMES = 5


def main() -> None:
    """Fill a store, time the command in each format."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), trials)
        alone = timed([sys.executable, "-c", "import mlflow"], folder)
        print(f"{trials} trials, {TIMES} times each: median (fastest to slowest), seconds")
        print(f"{'import mlflow':16}{shown(alone)}")
        program = Path(sys.executable).with_name("harnest-compare")
        for form in ("table", "csv", "html"):
            took = timed([program, "many", "--format", form], folder)
            ratio = statistics.median(took) / statistics.median(alone)
            print(f"{form:16}{shown(took)}   {ratio:.1f} times the import")


def fill(folder: Path, trials: int) -> None:
    """Write a parent run and its children, as a study does."""
    draw = random.Random(0)
    client = open_store(f"sqlite:///{folder}/mlflow.db")
    experiment = experiment_id(client, "harnest")
    family = {"study": "many", "study.identity": "many"}
    parent = client.create_run(experiment, tags=family, run_name="many").info.run_id
    space = {f"search.{key}": distribution_to_json(one) for key, one in SPACE.items()}
    searched = [Param(key, value) for key, value in space.items()]
    client.log_batch(parent, params=[*searched, Param("directions", "maximize")])
    fixed = [Param(f"group.key_{number}", "a value of some length") for number in range(60)]
    tags = [RunTag(f"version.package-{number}", "1.2.3") for number in range(25)]
    for number in range(trials):
        own = {**family, "trial": str(number), "mlflow.parentRunId": parent}
        run = client.create_run(experiment, tags=own, run_name=f"trial-{number}").info.run_id
        drawn = {
            "optimizer.lr": 10 ** draw.uniform(-4, -1),
            "model.hidden_size": draw.randint(16, 256),
            "model.dropout": draw.uniform(0, 0.5),
            "seed": draw.randint(0, 2),
        }
        params = [*fixed, *(Param(key, json.dumps(value)) for key, value in drawn.items())]
        scores = {"objective": draw.random(), "steps": 8, "val/loss": 0.5, "train/loss": 0.5}
        metrics = [Metric(key, value, 0, 0) for key, value in scores.items()]
        client.log_batch(run, metrics=metrics, params=params, tags=tags)
        client.set_terminated(run)
    client.set_terminated(parent)


def timed(command: list, folder: str) -> list[float]:
    """Seconds that a command takes, several times."""
    seconds = []
    for _ in range(TIMES):
        began = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - began)
    return seconds


def shown(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


if __name__ == "__main__":
    main()
