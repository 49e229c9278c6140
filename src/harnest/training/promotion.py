"""Refits a study's winner, tests the refits, and registers the best."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harnest.core.errors import TrackingError
from harnest.core.paths import BEST_CHECKPOINT
from harnest.tracking.find_runs import best_trial_run, find_run, trials_of
from harnest.tracking.registry.champion import model_of_run, register, set_champion
from harnest.tracking.reproduce import config_of
from harnest.tracking.run_queries import search_runs
from harnest.tracking.run_writer import OBJECTIVE, RunWriter
from harnest.tracking.study_record import PARENT, STUDY, TRIAL
from harnest.training.refits import Ended, RefitJob, train_side_by_side
from harnest.training.task import task_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun
    from omegaconf import DictConfig

#: Is called with a line for the user.
Say = Callable[[str], None]

#: Tag of a refit: the run that it refits.
REFIT = "refit"


@dataclass(frozen=True)
class Refit:
    """The winner's config, trained with another seed and tested: score and test scores."""

    run_id: str
    seed: int
    score: float
    tests: Mapping[str, float]


def winner_of(client: "MlflowClient", study: "MlflowRun", number: int | None) -> "MlflowRun":
    """The run of the study's best trial, or of trial ``number``.

    Raises:
        TrackingError: It does not exist, or has not finished.
    """
    name = study.info.run_name
    if number is None:
        best = best_trial_run(client, study)
        if best is not None:
            return _of_trainer(best)
        raise TrackingError(
            f"study {name} has no best trial: none has finished, or it has several objectives; "
            "choose one with --trial N"
        )
    found = [run for run in trials_of(client, study) if run.data.tags[TRIAL] == str(number)]
    if not found or found[0].info.status != "FINISHED":
        raise TrackingError(f"study {name} has no finished trial {number}")
    return _of_trainer(found[0])


def _of_trainer(run: "MlflowRun") -> "MlflowRun":
    if not {"objective.metric", "data.name"} <= set(run.data.params):
        raise TrackingError(
            f"{run.info.run_name} was not trained by harnest-train: only what that has trained can "
            "be promoted"
        )
    return run


def refit(
    client: "MlflowClient", study: "MlflowRun", winner: "MlflowRun", count: int, say: Say
) -> list[Refit]:
    """Train and test the winner's config with new seeds, in parallel on this machine's slots.

    New seeds, because the winner was selected with its own. Each refit is a child of the study's
    run; one that exists is read from the record.

    Args:
        client: The store.
        study: The study's parent run.
        winner: The run of its best trial.
        count: Number of seeds.
        say: Called with a line of progress.

    Raises:
        TrackingError: The config saves no best checkpoint, or holds out no test subjects.
    """
    group, identity = study.info.experiment_id, winner.info.run_id
    condition = f"tags.`{REFIT}` = '{identity}' AND attributes.status = 'FINISHED'"
    there = {r.seed: r for r in map(_recorded, search_runs(client, group, condition)) if r.tests}
    cfg = config_of(client, winner)
    callbacks = (cfg.get("callbacks") or {}).values()
    if not any(one and one.get("filename") == Path(BEST_CHECKPOINT).stem for one in callbacks):
        raise TrackingError(
            f"study {study.info.run_name} keeps no {BEST_CHECKPOINT} that could be tested: search "
            "with callbacks=default, or another choice that has checkpoint"
        )
    if cfg.data.test in (None, []):
        raise TrackingError(
            f"study {study.info.run_name} has no test subjects (data.test) to compare models by"
        )
    first = cfg.seed + cfg.seeds
    seeds = range(first, first + count)
    missing = [seed for seed in seeds if seed not in there]
    if missing:
        tags = {PARENT: study.info.run_id, STUDY: str(study.info.run_name), REFIT: identity}
        name = winner.info.run_name
        jobs = [
            RefitJob(_seeded(cfg, seed), f"{name} seed {seed}", client.tracking_uri, tags)
            for seed in missing
        ]
        metric = cfg.objective.metric
        with closing(train_side_by_side(jobs)) as events:
            for event in events:
                seed = event.job.cfg.seed
                told = f"refit of {name} with seed {seed}"
                if isinstance(event, Ended):
                    run = find_run(client, group, str(event.directory))
                    RunWriter(client, run.info.run_id, owned=False).metrics(event.tests, step=0)
                    there[seed] = Refit(run.info.run_id, seed, event.score, event.tests)
                    left = sum(seed not in there for seed in seeds)
                    say(f"{told} ended: {metric} {event.score:.4f}; {left} to go")
                else:
                    say(f"{told} started")
    return [there[seed] for seed in seeds]


def _seeded(cfg: "DictConfig", seed: int) -> "DictConfig":
    again = cfg.copy()
    again.seed = seed
    again.folds, again.seeds = None, 1  # one of those that the trial may have been made of
    return again


def _recorded(run: "MlflowRun") -> Refit:
    metrics = run.data.metrics
    tests = {name: value for name, value in metrics.items() if name.startswith("test/")}
    seed = int(run.data.tags["seed"])
    return Refit(run.info.run_id, seed, metrics.get(OBJECTIVE, float("nan")), tests)


def promote(
    client: "MlflowClient",
    study: "MlflowRun",
    winner: "MlflowRun",
    refits: Sequence[Refit],
    name: str,
    *,
    say: Say,
    warn: Say,
    force: bool = False,
) -> bool:
    """Record mean and deviation, register the refit that validates best, and crown the champion.

    Returns False, and registers nothing, where the mean of the test scores is no better than
    guessing, see `Task.chance_scores`; ``force`` registers it all the same.
    """
    params = winner.data.params
    metric, mode = params["objective.metric"], params["objective.mode"]
    tested = f"test/{metric.rpartition('/')[2]}"
    sign = 1 if mode == "max" else -1
    best = max(refits, key=lambda one: sign * one.score)
    summary = {
        f"{test}.{word}": value
        for test in sorted(best.tests)
        for word, value in _mean_and_deviation([one.tests[test] for one in refits]).items()
    }
    validated = _mean_and_deviation([one.score for one in refits])
    kept = {f"{metric}.{word}": value for word, value in validated.items()}
    RunWriter(client, study.info.run_id, owned=False).metrics(summary | kept, step=0)
    for one in refits:
        say(f"seed {one.seed}: {metric} {one.score:.4f}, {tested} {one.tests[tested]:.4f}")
    score = winner.data.metrics.get(OBJECTIVE)
    beside = "" if score is None else f"; in the study, which chose by it, {score:.4f}"
    say(f"{metric:<14} {_spread(kept, metric)}, {len(refits)} seeds{beside}")
    for test in sorted(best.tests):
        say(f"{test:<14} {_spread(summary, test)}, {len(refits)} seeds")
    cfg = config_of(client, winner)
    mean, guessed = summary[f"{tested}.mean"], task_of(cfg).chance_scores(cfg).get(tested)
    if guessed is not None and not sign * mean > sign * guessed:
        told = f"warning: {tested} {mean:.4f} is no better than guessing, {guessed:.4f}"
        if not force:
            warn(f"{told}: nothing is registered; --force registers it")
            return False
        warn(told)
    run = client.get_run(best.run_id)
    model = model_of_run(client, run)
    if model is None:
        say(f"run {best.run_id} logged no model: nothing is registered")
        return True
    facts = {
        key: run.data.tags[key] for key in ("data.digest", "subjects.test") if key in run.data.tags
    }
    scores = {key: repr(value) for key, value in summary.items()}
    tags = {"study": str(study.info.run_name), "seed": str(best.seed), **facts, **scores}
    version = register(client, name, best.run_id, model, tags)
    say(f"registered as version {version} of {name}: seed {best.seed}, the best in {metric}")
    say(set_champion(client, name, version, f"{tested}.mean", mode))
    return True


def _spread(values: Mapping[str, float], name: str) -> str:
    deviation = values.get(f"{name}.std")
    return f"{values[f'{name}.mean']:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")


def _mean_and_deviation(values: Sequence[float]) -> dict[str, float]:
    """Mean and, for several values, the sample standard deviation."""
    mean = {"mean": statistics.fmean(values)}
    return mean | ({"std": statistics.stdev(values)} if len(values) > 1 else {})
