"""Trials an hour of the study `quick`, beside what people run today.

    python benchmarks/sweep.py [TRIALS [SEEDS]]

ours      harnest-train -m sweep=quick, on as many slots as there are cores
by hand   (a) yardsticks/by_hand.py: Optuna, PyTorch and MLflow in one process, a median pruner
stock     (b) yardsticks/stock.py: Lightning and MLFlowLogger under the stock hydra-optuna-sweeper

The same search space, windows, network, epochs and number of trials for each, in turns, once for
every study seed. The yardsticks' network is made with torch alone, and begins as torch has it. The
prepared windows are made before. ``trials/h`` is of the whole command, from its start to its end;
``best`` is the mean over the seeds of the best macro-F1 on the validation subjects.
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna

YARDSTICKS = Path(__file__).with_name("yardsticks")
PROGRAM = Path(sys.executable).with_name("harnest-train")

_FIRST = 3  # study seed: with those before, the pruner of sweep=quick was chosen


def figures(trials: int = 24, seeds: int = 3) -> dict[str, float]:
    """By yardstick: how many times its trials an hour ours are, how much better ours score."""
    took, best = measure(trials, seeds)
    scores = {name: statistics.fmean(of_way) for name, of_way in best.items()}
    found = {f"{name} score": score for name, score in scores.items()}
    for name in ("by hand", "stock"):
        found[name] = times(took, name)
        found[f"{name} margin"] = scores["ours"] - scores[name]
    return found


def times(took: dict[str, list[float]], name: str) -> float:
    """How many of our trials there are in the time of one of a way's."""
    return statistics.median(a / b for a, b in zip(took[name], took["ours"], strict=True))


def measure(trials: int, seeds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Run all three in turns; the seconds and the best score of each way, by seed."""
    took: dict[str, list[float]] = {name: [] for name in WAYS}
    best: dict[str, list[float]] = {name: [] for name in WAYS}
    for seed in range(_FIRST, _FIRST + seeds):
        for name, way in WAYS.items():
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                score = way(trials, seed, Path(folder))
                took[name].append(time.perf_counter() - began)
                best[name].append(score)
                print(f"seed {seed}, {name}: {took[name][-1]:.0f} s, {score:.4f}", flush=True)
    return took, best


def main() -> None:
    """Print one row for each way."""
    trials, seeds = (int(text) for text in [*sys.argv[1:3], "24", "3"][:2])
    took, best = measure(trials, seeds)
    print(f"{trials} trials, {seeds} study seeds: medians, and the mean best score")
    print(f"{'':10}{'seconds':>9}{'trials/h':>10}{'ours':>8}{'best':>9}")
    for name in WAYS:
        seconds = statistics.median(took[name])
        print(
            f"{name:10}{seconds:>9.0f}{3600 * trials / seconds:>10.0f}{times(took, name):>7.2f}x"
            f"{statistics.fmean(best[name]):>9.4f}"
        )


def ours(trials: int, seed: int, folder: Path) -> float:
    """This project."""
    options = [f"hydra.sweeper.n_trials={trials}", f"hydra.sweeper.sampler.seed={seed}"]
    said = run([PROGRAM, "-m", "sweep=quick", "trainer=cpu", *options], folder)
    (score,) = re.findall(r"^best: trial \d+, ([\d.]+)", said, re.MULTILINE)
    return float(score)


def by_hand(trials: int, seed: int, folder: Path) -> float:
    """Yardstick (a)."""
    said = run([sys.executable, YARDSTICKS / "by_hand.py", str(trials), str(seed)], folder)
    return float(said.splitlines()[-1])


def stock(trials: int, seed: int, folder: Path) -> float:
    """Yardstick (b)."""
    options = [f"hydra.sweeper.n_trials={trials}", f"hydra.sweeper.sampler.seed={seed}"]
    run([sys.executable, YARDSTICKS / "stock.py", "-m", *options], folder)
    study = optuna.load_study(study_name="stock", storage=f"sqlite:///{folder}/study.db")
    return study.best_value


def run(command: list[str | Path], folder: Path) -> str:
    """Run a program in ``folder``; what it printed."""
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


WAYS = {"ours": ours, "by hand": by_hand, "stock": stock}


if __name__ == "__main__":
    main()
