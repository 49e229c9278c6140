"""Entry: a config in, a score out."""

from omegaconf import DictConfig

from harnest.cli.app import run_hydra
from harnest.study import Replicates
from harnest.training.config import (
    check_limits,
    check_one_process,
    check_unsearched,
    is_half_precision_here,
)
from harnest.training.run import run


def train(cfg: DictConfig) -> float | tuple[float, ...] | Replicates:
    """The task of ``harnest-train``; Hydra names the job, and its log, after this module."""
    return run(cfg)


def check(cfg: DictConfig) -> None:
    """Raise `HarnestError` for a trial's config that cannot be used here.

    torch is imported only where it has to be asked.
    """
    check_limits(cfg)
    check_one_process(cfg)
    if is_half_precision_here(cfg):
        from harnest.training.components import check_precision

        check_precision(cfg)


def main() -> None:
    """``harnest-train``."""
    run_hydra(train, config_name="train", check=check, check_unsearched=check_unsearched)


if __name__ == "__main__":
    main()
