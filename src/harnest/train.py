"""Entry: a config in, a score out."""

from omegaconf import DictConfig

from harnest.cli import run_hydra
from harnest.config import check_limits, check_one_process
from harnest.study import Members
from harnest.training import run


def train(cfg: DictConfig) -> float | tuple[float, ...] | Members:
    """The task of ``harnest-train``; Hydra names the job, and its log, after this module."""
    return run(cfg)


def check(cfg: DictConfig) -> None:
    """Raise `ConfigError` for a trial's config that cannot be used, before the first trial."""
    check_limits(cfg)
    check_one_process(cfg)


def main() -> None:
    """``harnest-train``."""
    run_hydra(train, config_name="train", check=check)


if __name__ == "__main__":
    main()
