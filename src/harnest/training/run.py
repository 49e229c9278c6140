"""Trains one config: a score, and a record of the run."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from harnest.core.errors import ConfigError
from harnest.study import Replicates, current_trial
from harnest.study.execution.interrupts import Interrupts
from harnest.training.config import check_one_process, has_replicates, several_devices_error
from harnest.training.limits import check_limits
from harnest.training.task import task_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunResult:
    """The result of a run: its directory, and one score per objective."""

    directory: Path
    scores: tuple[float, ...]

    @classmethod
    def of(cls, directory: Path, returned: float | tuple[float, ...]) -> "RunResult":
        """The result of a run that `run` has ``returned`` from."""
        return cls(directory, returned if isinstance(returned, tuple) else (returned,))

    @property
    def score(self) -> float:
        """The score of the first objective."""
        return self.scores[0]


def run(
    cfg: DictConfig, tags: Mapping[str, str] | None = None
) -> float | tuple[float, ...] | Replicates:
    """Train once and return the score, or a tuple of scores if there are further objectives.

    The score is the best ``cfg.objective`` of an epoch; further objectives are the last metrics.
    Inside a study each epoch's objective is reported, and the pruner may stop the run. A config
    with folds or several seeds returns the replicates that its study is to run.

    Args:
        cfg: The composed config.
        tags: Further tags of the run's record.

    Raises:
        HarnestError: The user can fix it.
        KeyboardInterrupt: The run was interrupted.
    """
    task = task_of(cfg)
    check_limits(cfg, task.limits)
    is_swept = HydraConfig.get().mode == RunMode.MULTIRUN
    if is_swept:  # also by a sweeper that has not asked before
        check_one_process(cfg)
    trial = current_trial()
    if has_replicates(cfg) and trial is None:
        raise ConfigError(
            f"folds={cfg.folds} seeds={cfg.seeds}: these are several runs: add -m (--multirun)"
        )
    # torch, Lightning and MLflow are imported once the config has been checked. Interrupts are
    # deferred: an interrupted import may lose Ctrl-C, or turn it into an ImportError.
    interrupts = Interrupts()
    with interrupts.held():
        from harnest.training.components import assemble, make_loggers
        from harnest.training.cross_validation import replicates_of
        from harnest.training.fit import (
            best_epoch,
            check_checkpoint,
            check_remaining,
            final_metrics,
            fit,
            run_name,
            run_tags,
            score_of,
        )
        from harnest.training.recorder import record_run

        with interrupts.allowed():
            pass

    directory = Path(HydraConfig.get().runtime.output_dir)
    if has_replicates(cfg):
        loggers, name = make_loggers(cfg), run_name(cfg)
        with record_run(loggers, cfg, directory, name=name, facts={}, data_set=None):
            return replicates_of(cfg)
    components = assemble(cfg, directory, trial)
    devices = components.trainer.num_devices * components.trainer.num_nodes
    if is_swept and devices > 1:  # known only on the trial's own machine
        raise several_devices_error(f"trainer.devices={cfg.trainer.devices}")
    if cfg.resume is not None:
        check_checkpoint(components.module, Path(cfg.resume))
        if trial is None:  # a trial interrupted after its last epoch still returns its score
            check_remaining(components.trainer, Path(cfg.resume))
    facts = run_tags(cfg, components) | dict(tags or {})
    with record_run(
        components.trainer.loggers,
        cfg,
        directory,
        name=run_name(cfg),
        facts=facts,
        data_set=task.dataset(components),
    ) as record:
        fit(components, cfg.resume)
        score = score_of(components, cfg.objective.metric)
        measured = final_metrics(components)  # before the model is frozen to be kept
        record(score, components.trainer.current_epoch, best_epoch(components))
        if components.trainer.is_global_zero:
            log.info("%s = %.4f, in %s", cfg.objective.metric, score, directory)
            if trial is None or not trial.is_pruned:  # pruned trials have no figures or model
                task.save_artifacts(components, directory)
    if trial is not None:
        trial.measured(measured)
    others = tuple(measured[name] for name in cfg.objective.extra or ())
    return (score, *others) if others else score
