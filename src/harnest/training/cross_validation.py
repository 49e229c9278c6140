"""Folds and seeds: the replicates of a trial."""

from omegaconf import DictConfig

from harnest.study import Replicate, Replicates
from harnest.training.task import task_of


def replicates_of(cfg: DictConfig) -> Replicates:
    """The replicates that ``cfg`` asks for: each fold with each seed.

    Raises:
        HarnestError: The task cannot make the folds.
    """
    folds = [("", ())] if cfg.folds is None else task_of(cfg).folds(cfg)
    seeds = range(cfg.seed, cfg.seed + cfg.seeds)
    return Replicates(
        tuple(
            Replicate(
                "-".join(filter(None, (name, f"seed-{seed}" if len(seeds) > 1 else ""))),
                (*overrides, f"seed={seed}", "folds=null", "seeds=1"),
            )
            for seed in seeds
            for name, overrides in folds
        )
    )
