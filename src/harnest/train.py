"""Entry: a config in, a score out."""

from omegaconf import DictConfig

from harnest.cli import run_hydra
from harnest.config import check_limits, check_unsearched
from harnest.study import Members
from harnest.training import run


def train(cfg: DictConfig) -> float | tuple[float, ...] | Members:
    """The task of ``harnest-train``; Hydra names the job, and its log, after this module."""
    return run(cfg)


def main() -> None:
    """``harnest-train``."""
    run_hydra(train, config_name="train", check=check_limits, check_unsearched=check_unsearched)


if __name__ == "__main__":
    main()
