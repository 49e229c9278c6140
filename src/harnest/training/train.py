"""The task function of ``harnest-train``. Hydra names the job and its log after this module."""

from typing import Any

from omegaconf import DictConfig

from harnest.study.study_task import StudyTask
from harnest.training.config import check_one_process, check_unsearched, is_half_precision_here
from harnest.training.limits import check_limits
from harnest.training.run import run
from harnest.training.task import task_of


def train_config(cfg: DictConfig) -> Any:
    """Train what ``cfg`` describes; returns what `harnest.training.run.run` returns."""
    return run(cfg)


def check(cfg: DictConfig) -> None:
    """Raise `HarnestError` for a trial's config that cannot be used."""
    task = task_of(cfg)
    check_limits(cfg, task.limits)
    check_one_process(cfg)
    if is_half_precision_here(cfg):
        task.check_precision(cfg)


#: What a study runs, with its checks.
TRAIN = StudyTask(train_config, check=check, check_unsearched=check_unsearched, synchronizes=True)
