"""What each of Optuna's pruners saves and costs on LCBench's learning curves.

    pip install onnxruntime
    python benchmarks/lcbench_pruners.py LCBENCH [--seeds N] [--processes N]

``LCBENCH`` (or the environment's ``LCBENCH``) is a folder with ``lcbench.py``, which predicts the
validation accuracy of a configuration after each of 52 epochs with the surrogate of YAHPO Gym
(Pfisterer et al. 2022) for LCBench (Zimmer et al. 2021). Without it the program says so and ends.

A study runs one trial at a time with the sampler of ``sweep=quick`` until it has spent the epochs
of 20 full trainings, on each of the 12 development tasks. Its regret after the epochs of 10 and of
20 full trainings is ``(reference - best) / (reference - median)``: ``best`` is the highest accuracy
that a trial has reported so far, ``median`` is that of 200 random configurations after 52 epochs,
and ``reference`` is the best of 4,000 others. A row is the mean over tasks and seeds; the error is
the standard error of the 20's. ``finished`` is the regret after 20 where finished trials alone
count. What the last trial reports beyond the budget does not count.
"""

import argparse
import math
import os
import statistics
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
)

FULL = (10, 20)  # budgets, in full trainings

#: A warm-up of half or a quarter is of the 52 epochs; ``quick`` trains for 8.
PRUNERS: dict[str, Callable[[], BasePruner]] = {
    "random": NopPruner,
    "none": NopPruner,
    "best 40 %, 2 and 1": lambda: PercentilePruner(40, 2, 1),
    "median, 5 and 0": lambda: MedianPruner(5, 0),
    "median, 4 and 2": lambda: MedianPruner(4, 2),
    "median, 5 and a quarter": lambda: MedianPruner(5, 13),
    "median, 5 and half": lambda: MedianPruner(5, 26),
    "best quarter, 5 and half": lambda: PercentilePruner(25, 5, 26),
    "best three quarters, 5 and 0": lambda: PercentilePruner(75, 5, 0),
    "best three quarters, 5 and a quarter": lambda: PercentilePruner(75, 5, 13),
    "best three quarters, 5 and half": lambda: PercentilePruner(75, 5, 26),
    "patient 3, median, 5 and 0": lambda: PatientPruner(MedianPruner(5, 0), 3),
    "successive halving by 4": SuccessiveHalvingPruner,
    "successive halving by 2": lambda: SuccessiveHalvingPruner(1, 2),
    "hyperband": lambda: HyperbandPruner(1, 52, 3),
}


@cache
def task_of(folder: Path, name: str) -> Any:
    """One task, its reference and its median."""
    sys.path.insert(0, str(folder))
    import lcbench

    task = lcbench.Task(name)
    # In parts: all at once take a hundred times the memory.
    rng = np.random.default_rng(0)
    parts = [task.curves([lcbench.sample(rng) for _ in range(200)])[0][:, -1] for _ in range(20)]
    others = [lcbench.sample(np.random.default_rng(seed)) for seed in range(200)]
    median = np.median(task.curves(others)[0][:, -1])
    return task, float(np.max(parts)), float(median)


def drawn(trial: optuna.Trial, space: dict[str, tuple[str, float, float, str]]) -> dict[str, float]:
    """The configuration that ``trial`` draws."""
    config: dict[str, float] = {}
    for key, (kind, low, high, scale) in space.items():
        if kind == "int":
            config[key] = trial.suggest_int(key, int(low), int(high), log=bool(scale))
        else:
            config[key] = trial.suggest_float(key, low, high, log=bool(scale))
    return config


def regrets(folder: Path, pruner: str, name: str, seed: int) -> tuple[float, float, float, int]:
    """A study's regret after both budgets, and how many trials it has begun.

    The third counts the finished trials alone.
    """
    silence()
    seed = int(np.random.SeedSequence([seed, int(name)]).generate_state(1)[0])
    task, reference, median = task_of(folder, name)
    import lcbench

    sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed)
    if pruner != "random":
        sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=5, multivariate=True, constant_liar=True
        )
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=PRUNERS[pruner]())
    spent, best, finished = 0, -math.inf, -math.inf
    found: list[float] = []
    while len(found) < len(FULL):
        trial = study.ask()
        curve, _ = task.curve(drawn(trial, lcbench.SPACE))
        for epoch, accuracy in enumerate(map(float, curve)):
            spent += 1
            best = max(best, accuracy)
            if len(found) < len(FULL) and spent == FULL[len(found)] * lcbench.EPOCHS:
                found.append((reference - best) / (reference - median))
            trial.report(accuracy, epoch)
            if epoch + 1 < len(curve) and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, accuracy)
            if spent <= FULL[-1] * lcbench.EPOCHS:
                finished = max(finished, accuracy)
    return *found, (reference - finished) / (reference - median), len(study.trials)


def silence() -> None:
    """Let Optuna say nothing of each trial."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")


def main() -> None:
    """Print one row for each pruner."""
    parser = argparse.ArgumentParser(description="Optuna's pruners on LCBench")
    parser.add_argument("folder", nargs="?", default=os.environ.get("LCBENCH"))
    parser.add_argument("--pruners", nargs="+", choices=PRUNERS, default=list(PRUNERS))
    parser.add_argument("--seeds", type=int, default=10, help="at least 2")
    parser.add_argument("--processes", type=int, default=None)
    arguments = parser.parse_args()
    if not arguments.folder or not Path(arguments.folder, "lcbench.py").is_file():
        print("skipped: give the folder of lcbench.py as an argument, or as LCBENCH")
        return
    folder = Path(arguments.folder).resolve()
    sys.path.insert(0, str(folder))
    try:
        import lcbench
        import onnxruntime  # noqa: F401
    except ImportError as error:
        print(f"skipped: {error}; pip install onnxruntime")
        return
    seeds = range(arguments.seeds)
    print(f"{len(lcbench.DEVELOPMENT)} tasks, {len(seeds)} seeds; regret after 10 and 20 trainings")
    print(f"{'':40}{'10':>6}{'20':>7}{'error':>8}{'finished':>10}{'trials':>8}")
    with ProcessPoolExecutor(arguments.processes) as processes:
        for name in arguments.pruners:
            # By task first: a process computes a task's reference once.
            cases = list(product(lcbench.DEVELOPMENT, seeds))
            found = processes.map(partial(_regrets, folder, name), cases, chunksize=len(seeds))
            first, second, finished, trials = zip(*found, strict=True)
            # Tasks differ in difficulty: their part in the spread is not chance.
            spread = np.reshape(second, (-1, len(seeds))).std(axis=1, ddof=1)
            error = float(np.sqrt(np.sum(spread**2) / len(seeds))) / len(spread)
            print(
                f"{name:40}{statistics.fmean(first):>6.3f}{statistics.fmean(second):>7.3f}"
                f"{error:>8.3f}{statistics.fmean(finished):>10.3f}{statistics.fmean(trials):>8.0f}",
                flush=True,
            )


def _regrets(folder: Path, pruner: str, case: tuple[str, int]) -> tuple[float, float, float, int]:
    return regrets(folder, pruner, *case)


if __name__ == "__main__":
    main()
