"""What a pruner saves and what it costs, in studies simulated from recorded learning curves.

    harnest-train -m sweep=quick trainer=cpu hydra.sweeper.study=curves hydra.sweeper.n_trials=80 \\
        hydra/sweeper/sampler=random hydra/sweeper/pruner=none
    python benchmarks/pruners.py multirun/curves ...

The first command records them, in one study or in several. From a trial's keys an extremely
randomised forest learns its score after each epoch and the seconds that an epoch takes. A simulated
trial has the scores that the forest predicts, plus those by which it was wrong, in
cross-validation, about one of the recorded trials. A simulated study has `TRIALS` trials on `SLOTS`
slots, and the sampler of ``sweep=quick``.

``best`` is the mean of `STUDIES` best scores, with its standard error. It is there to compare
pruners with each other: the chance that is added makes each of them higher than in real studies.
``seconds`` are those of the epochs, and `START` for each trial.
"""

import heapq
import math
import random
import statistics
import sys
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner, PercentilePruner
from optuna.pruners import SuccessiveHalvingPruner as HalvingPruner
from optuna.trial import FrozenTrial, TrialState
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import cross_val_predict

from harnest.study.storage.optuna_storage import journal_address, open_storage

TRIALS = 24
SLOTS = 2
STUDIES = 200  # simulated ones for each pruner
START = 0.3  # seconds from the decision for a trial to its first batch

#: Of those that compare trials with earlier ones: after so many finished trials, and epochs.
PRUNERS: dict[str, BasePruner] = {
    "none": NopPruner(),
    "median, 5 and 4": MedianPruner(5, 4),
    "median, 4 and 2": MedianPruner(4, 2),
    "best third, 4 and 2": PercentilePruner(33, 4, 2),
    "best 40 %, 4 and 1": PercentilePruner(40, 4, 1),
    "median, 2 and 1": MedianPruner(2, 1),
    "best 40 %, 2 and 1": PercentilePruner(40, 2, 1),
    "best 40 %, 1 and 1": PercentilePruner(40, 1, 1),
    "best third, 2 and 1": PercentilePruner(33, 2, 1),
    "best quarter, 2 and 1": PercentilePruner(25, 2, 1),
    "best 40 %, 2 and none": PercentilePruner(40, 2, 0),
    "halving from the second epoch on, by 3": HalvingPruner(2, 3),
    "halving from the second epoch on, by 2": HalvingPruner(2, 2),
    "halving from the first epoch on, by 3": HalvingPruner(1, 3),
}


@dataclass(frozen=True)
class Curves:
    """What was learned from the finished trials of a study.

    ``wrong`` is what the forest's predictions of their scores lacked, by trial and epoch.
    """

    space: Mapping[str, BaseDistribution]
    forest: ExtraTreesRegressor
    wrong: np.ndarray

    @classmethod
    def of(cls, directories: Sequence[Path]) -> "Curves":
        """Learn from the studies in these folders, which searched the same space."""
        trials = [trial for directory in directories for trial in finished(directory)]
        space = trials[0].distributions
        keys = np.array([encoded(trial.params, space) for trial in trials])
        scores = np.array([list(trial.intermediate_values.values()) for trial in trials])
        lengths = [trial.duration.total_seconds() - START for trial in trials]
        seconds = np.array(lengths) / scores.shape[1]
        forest = ExtraTreesRegressor(100, min_samples_leaf=2, random_state=0)
        wrong = scores - cross_val_predict(forest, keys, scores, cv=10)
        return cls(space, forest.fit(keys, np.column_stack([scores, seconds])), wrong)

    def draw(self, params: Mapping[str, Any], chance: random.Random) -> tuple[np.ndarray, float]:
        """A trial's score after each epoch, and the seconds that one takes."""
        *scores, seconds = self.forest.predict([encoded(params, self.space)])[0]
        return np.array(scores) + chance.choice(self.wrong), seconds


def finished(directory: Path) -> list[FrozenTrial]:
    """The trials that went through all epochs, of the study in ``directory``."""
    storage = open_storage(journal_address(directory))
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage).get_trials(
        states=[TrialState.COMPLETE]
    )


def encoded(params: Mapping[str, Any], space: Mapping[str, BaseDistribution]) -> list[float]:
    """A trial's keys as numbers: of a choice, one for each of its options."""
    numbers: list[float] = []
    for key, distribution in space.items():
        if isinstance(distribution, CategoricalDistribution):
            numbers += [float(params[key] == option) for option in distribution.choices]
        elif isinstance(distribution, FloatDistribution) and distribution.log:
            numbers.append(math.log(params[key]))
        else:
            numbers.append(params[key])
    return numbers


def simulated(curves: Curves, pruner: BasePruner, seed: int) -> tuple[float, int, float]:
    """A study's best score, how many epochs it took, and how many seconds."""
    chance = random.Random(seed)
    sampler = optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=5, multivariate=True, constant_liar=True
    )
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    order = count()
    running: list[Any] = []  # by when their next epoch ends

    def start(now: float) -> None:
        trial = study.ask(dict(curves.space))
        scores, seconds = curves.draw(trial.params, chance)
        heapq.heappush(running, (now + START + seconds, next(order), trial, scores, 0, seconds))

    for _ in range(SLOTS):
        start(0.0)
    epochs, now = 0, 0.0
    while running:
        now, number, trial, scores, epoch, seconds = heapq.heappop(running)
        epochs += 1
        trial.report(scores[epoch], epoch)
        is_last = epoch + 1 == len(scores)
        if is_last:
            study.tell(trial, max(scores))
        elif trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
        else:
            heapq.heappush(running, (now + seconds, number, trial, scores, epoch + 1, seconds))
            continue
        if len(study.trials) < TRIALS:
            start(now)
    return study.best_value, epochs, now


def main() -> None:
    """Print one row for each pruner."""
    curves = Curves.of([Path(word) for word in sys.argv[1:]])
    print(f"{len(curves.wrong)} recorded trials, {STUDIES} simulated studies for each pruner")
    print(f"{'':40}{'epochs':>8}{'seconds':>9}{'best':>8}")
    with ProcessPoolExecutor(initializer=silence) as processes:
        for name, pruner in PRUNERS.items():
            found = processes.map(partial(simulated, curves, pruner), range(STUDIES))
            best, epochs, seconds = zip(*found, strict=True)
            error = statistics.stdev(best) / math.sqrt(STUDIES)
            print(
                f"{name:40}{statistics.fmean(epochs):>8.0f}{statistics.fmean(seconds):>9.0f}"
                f"{statistics.fmean(best):>8.3f} ± {error:.3f}",
                flush=True,
            )


def silence() -> None:
    """Let Optuna tell nothing of each trial."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")


if __name__ == "__main__":
    main()
