"""Folds and seeds: the runs whose mean is one score."""

from collections.abc import Iterable

from omegaconf import DictConfig

from harnest.har.data.folds import folds
from harnest.study import Replicate, Replicates
from harnest.training.components import make_data


def replicates_of(cfg: DictConfig) -> Replicates:
    """The runs that ``cfg`` asks for: each fold of the subjects with each seed.

    Test subjects are in no fold. Raises `HarnestError` where the subjects cannot be dealt out.
    """
    parts: list[tuple[str, tuple[str, ...]]] = [("", ())]
    if cfg.folds is not None:
        split = make_data(cfg, warn=False).split
        everyone = [*split.train_subjects, *split.validation_subjects]
        dealt = folds(everyone, cfg.folds, seed=cfg.data.split_seed)
        # By name: a share of those who are not validated on would be others in each fold.
        tested = _listed("test", split.test_subjects)
        parts = [
            (f"fold-{number}", (_listed("validation", held_out), tested))
            for number, held_out in enumerate(dealt)
        ]
    seeds = range(cfg.seed, cfg.seed + cfg.seeds)
    return Replicates(
        tuple(
            Replicate(
                "-".join(filter(None, (name, f"seed-{seed}" if len(seeds) > 1 else ""))),
                (*overrides, f"seed={seed}", "folds=null", "seeds=1"),
            )
            for seed in seeds
            for name, overrides in parts
        )
    )


def _listed(part: str, subjects: Iterable[int]) -> str:
    return f"data.{part}=[{','.join(map(str, subjects))}]"
