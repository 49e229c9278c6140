"""Entry: a config in, a score out."""

from omegaconf import DictConfig

from harnest.cli.app import run_hydra
from harnest.study import Replicates
from harnest.training.config import (
    check_one_process,
    check_unsearched,
    is_half_precision_here,
)
from harnest.training.limits import check_limits
from harnest.training.run import run
from harnest.training.task import task_of


def train(cfg: DictConfig) -> float | tuple[float, ...] | Replicates:
    """The task of ``harnest-train``; Hydra names the job, and its log, after this module."""
    return run(cfg)


def check(cfg: DictConfig) -> None:
    """Raise `HarnestError` for a trial's config that cannot be used here.

    torch is imported only where it has to be asked.
    """
    task = task_of(cfg)
    check_limits(cfg, task.limits)
    check_one_process(cfg)
    if is_half_precision_here(cfg):
        task.check_precision(cfg)


def main() -> None:
    """``harnest-train``."""
    run_hydra(train, config_name="train", check=check, check_unsearched=check_unsearched)


if __name__ == "__main__":
    main()
