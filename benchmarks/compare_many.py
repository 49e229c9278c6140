"""How long a large study takes to sum up, and to compare: as a process, imports and all.

    python benchmarks/compare_many.py [TRIALS]

Fills a new store with one study of that many trials (default 1,000), each with as many
parameters, metrics and tags as a real run. Times ``harnest-compare`` on it while it runs, when
its table and the latest runs are read, and once it has ended, when its table is. The median and the
range of five times are printed, beside what importing MLflow alone takes: the ratio says how much
is ours.
"""

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from optuna.distributions import FloatDistribution, IntDistribution, distribution_to_json
from optuna.trial import TrialState

from harnest.study.events import StudyInfo, TrialInfo
from harnest.tracking.run_writer import RunWriter
from harnest.tracking.store import experiment_id, open_store
from harnest.tracking.study_summary import append_ended, summarize

SPACE = {
    "optimizer.lr": FloatDistribution(1e-4, 1e-1, log=True),
    "model.hidden_size": IntDistribution(16, 256),
    "model.dropout": FloatDistribution(0.0, 0.5),
    "seed": IntDistribution(0, 2),
}
FAMILY = {"study": "many", "study.identity": "many"}
STUDY = StudyInfo(
    name="many",
    identity="many",
    directory=Path("multirun/many"),
    directions=("maximize",),
    is_grid=False,
    sampler="TPESampler",
    pruner="NopPruner",
    budget=1000,
    space={key: json.loads(distribution_to_json(one)) for key, one in SPACE.items()},
    fixed=(),
    command="harnest-train -m sweep=many",
)
TIMES = 5
LATEST = 25  # trials that ended after the running study wrote its table


def figures(trials: int = 1000) -> dict[str, float]:
    """Median seconds of each use of the command, and of MLflow's import alone."""
    return {name: statistics.median(took) for name, took in measure(trials).items()}


def main() -> None:
    """Time the command in each format."""
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)


def measure(trials: int) -> dict[str, list[float]]:
    """Fill a store, time the command in each format, print it."""
    with tempfile.TemporaryDirectory() as folder:
        client = open_store(f"sqlite:///{folder}/mlflow.db")
        parent = RunWriter(client, start_parent(client), owned=True)
        facts, run_ids = fill(client, parent, trials)
        alone = timed([sys.executable, "-c", "import mlflow"], folder)
        print(f"{trials} trials, {TIMES} times each: median (fastest to slowest), seconds")
        print(f"{'import mlflow':16}{shown(alone)}")
        found = compare(folder, "running", ("table",), alone)
        began = time.perf_counter()
        summarize(parent, STUDY, facts, run_ids, {}, "0")
        print(f"{'summary':16}{time.perf_counter() - began:.2f} (once)")
        client.set_terminated(parent.run_id)
        found |= compare(folder, "ended", ("table", "csv", "html"), alone)
    return {"import": alone, **found}


def compare(
    folder: str, state: str, forms: Sequence[str], alone: list[float]
) -> dict[str, list[float]]:
    """Time the command in each format."""
    found = {}
    for form in forms:
        program = Path(sys.executable).with_name("harnest-compare")
        took = timed([program, "many", "--format", form], folder)
        found[f"{state}, {form}"] = took
        ratio = statistics.median(took) / statistics.median(alone)
        print(f"{state + ', ' + form:16}{shown(took)}   {ratio:.1f} times the import")
    return found


def start_parent(client: MlflowClient) -> str:
    """Write the parent run."""
    experiment = experiment_id(client, "harnest")
    parent = client.create_run(experiment, tags=FAMILY, run_name="many").info.run_id
    searched = [Param(f"search.{key}", json.dumps(value)) for key, value in STUDY.space.items()]
    client.log_batch(parent, params=[*searched, Param("directions", "maximize")])
    return parent


def fill(
    client: MlflowClient, parent: RunWriter, trials: int
) -> tuple[list[TrialInfo], dict[int, str]]:
    """Write the children; gives what a study knows of them."""
    draw = random.Random(0)
    facts, run_ids, runs = [], {}, {}
    experiment = experiment_id(client, "harnest")
    fixed = [Param(f"group.key_{number}", "a value of some length") for number in range(80)]
    tags = [RunTag(f"version.package-{number}", "1.2.3") for number in range(30)]
    for number in range(trials):
        own = {**FAMILY, "trial": str(number), "mlflow.parentRunId": parent.run_id}
        run = client.create_run(experiment, tags=own, run_name=f"trial-{number}").info.run_id
        drawn = {
            "optimizer.lr": 10 ** draw.uniform(-4, -1),
            "model.hidden_size": draw.randint(16, 256),
            "model.dropout": draw.uniform(0, 0.5),
            "seed": draw.randint(0, 2),
        }
        params = [*fixed, *(Param(key, json.dumps(value)) for key, value in drawn.items())]
        steps = {epoch: draw.random() for epoch in range(8)}
        scores = {"objective": max(steps.values()), "steps": 8}
        scores |= {f"system/{name}": draw.random() for name in range(20)}
        metrics = [Metric(key, value, 0, 0) for key, value in scores.items()]
        client.log_batch(run, metrics=metrics, params=params, tags=tags)
        client.set_terminated(run)
        values = (scores["objective"],)
        took = timedelta(seconds=10)
        facts.append(TrialInfo(number, drawn, TrialState.COMPLETE, values, steps, took))
        run_ids[number] = run
        runs[number] = RunWriter(client, run, owned=True)
        if number < trials - LATEST:
            append_ended(parent, facts, runs)
    return facts, run_ids


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
