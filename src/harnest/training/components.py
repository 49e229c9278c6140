"""Makes the task, data module, module, callbacks, loggers and trainer of a run."""

import logging
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as L
import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback, Checkpoint, ModelCheckpoint
from pytorch_lightning.loggers import Logger

from harnest.core.silence_libraries import silence_libraries
from harnest.study.trial import Trial
from harnest.training.callbacks.pruning import PruningCallback
from harnest.training.instantiate import build, build_each
from harnest.training.malloc import keep_freed_memory
from harnest.training.precision import auto_precision
from harnest.training.task import Task, task_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunComponents:
    """Everything that one run is made of."""

    task: Task
    data: L.LightningDataModule
    module: L.LightningModule
    trainer: L.Trainer

    @property
    def checkpoint(self) -> ModelCheckpoint | None:
        """The callback that saves the best epoch, if the config has one."""
        callbacks = self.trainer.checkpoint_callbacks
        return next((one for one in callbacks if isinstance(one, ModelCheckpoint)), None)


def assemble(cfg: DictConfig, directory: Path, trial: Trial | None = None) -> RunComponents:
    """Make the components of the run that ``cfg`` describes.

    Args:
        cfg: The config.
        directory: Where the run writes.
        trial: The trial of a study, which the run reports to; the progress bar is off then.

    Raises:
        HarnestError: The config asks for something that does not exist or does not work.
    """
    silence_libraries()
    keep_freed_memory()
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    # cuBLAS repeats its results only with a fixed workspace, and reads this once.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Deterministic algorithms would fill each new tensor, in case it is read before it is written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    task = task_of(cfg)
    loggers = make_loggers(cfg)  # first, so that an unavailable store fails at once
    data = task.make_data(cfg)
    callbacks: list[Callback] = build_each(cfg.callbacks)
    if trial is not None:
        callbacks.insert(0, PruningCallback(trial, cfg.objective.metric))
    trainer = make_trainer(
        cfg,
        callbacks=callbacks,
        logger=loggers or False,
        default_root_dir=str(directory),
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        enable_progress_bar=cfg.trainer.enable_progress_bar and trial is None,
        **task.trainer_arguments,
    )
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    module = task.make_module(cfg, data, trainer)
    precision = str(cfg.trainer.precision)
    if precision.startswith("16") and trainer.precision == "bf16-mixed":  # by Lightning
        log.warning("trainer.precision=%s: on a CPU, bf16-mixed is used instead", precision)
    return RunComponents(task, data, module, trainer)


def make_trainer(cfg: DictConfig, **arguments: Any) -> L.Trainer:
    """Make the config's trainer, with ``arguments`` that go before it."""
    precision = cfg.trainer.precision
    if precision == "auto":
        precision = auto_precision(cfg.trainer.accelerator)
    trainer: L.Trainer = build(cfg.trainer, precision=precision, **arguments)
    if not hasattr(trainer, "val_check_interval"):
        # Lightning leaves it out where a clock says when, and its EarlyStopping asks for it.
        trainer.val_check_interval = math.inf
    return trainer


def make_loggers(cfg: DictConfig) -> list[Logger]:
    """Make the config's loggers."""
    return build_each(cfg.logger)
