"""The Hydra sweeper that runs a sweep as an Optuna study."""

import copy
import logging
import os
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, ListConfig, OmegaConf, read_write

from harnest.core.errors import StudyError
from harnest.study.space.samplers import COMPLETE, PRUNERS, SAMPLERS
from harnest.study.study_task import as_study_task
from harnest.study.trial import NUMBER, STORAGE, STUDY

_log = logging.getLogger(__name__)

#: Directories of a study, and of a trial in it.
_DIR, _SUBDIR = "multirun/${hydra.sweeper.study}", "${hydra.job.num}"


class StudySweeper(Sweeper):
    """Runs a sweep as an Optuna study with pruning, retries and resume.

    Args:
        study: The study's name; None: derived from what is searched.
        direction: ``minimize`` or ``maximize``, or a list with one per objective.
        metric_names: A name for each objective; None: unnamed.
        n_trials: The budget over all sessions; None: every combination if the search only lists
            values, else 20.
        storage: Address of an Optuna storage; None: a journal file in the study's directory.
        params: Searches in the syntax of hydra-optuna-sweeper; the command line adds to them.
        conditions: Further searches by the ``KEY=VALUE`` under which they apply.
        constraints: ``{NAME: "<= LIMIT"}`` or ``{NAME: ">= LIMIT"}``: limits on what trials
            measure. A trial that violates one is never the best.
        batch: How many trials run at once on other launchers than ``slots``; None: see
            `executor_for`.
        timeout: Seconds after which a session starts no new trial.
        max_failure_rate: A session stops if more than this share of at least five trials failed.
        retry: By reason, how often a failed trial is run again.
        resume_from: ``{KEY: FILE}``: the file in a trial's directory that KEY names in a retry.
        enqueue: What a new study tries first: parameters, or the folder of a study with its best
            ones.
        sampler: Config of the sampler.
        pruner: Config of the pruner.
    """

    def __init__(
        self,
        study: str | None,
        direction: Any,
        n_trials: int | None,
        storage: str | None,
        params: DictConfig | None,
        conditions: DictConfig | None = None,
        constraints: DictConfig | None = None,
        batch: int | None = None,
        timeout: float | None = None,
        max_failure_rate: float = 0.9,
        retry: DictConfig | None = None,
        resume_from: DictConfig | None = None,
        enqueue: ListConfig | None = None,
        sampler: DictConfig | None = None,
        pruner: DictConfig | None = None,
        metric_names: ListConfig | None = None,
    ) -> None:
        self.study = study
        self.directions = [direction] if isinstance(direction, str) else list(direction)
        self.n_trials = n_trials
        self.storage = storage
        self.params = params
        self.conditions: Any = OmegaConf.to_container(conditions) if conditions else {}
        self.constraints: Any = OmegaConf.to_container(constraints) if constraints else {}
        self.batch = batch
        self.timeout = timeout
        self.max_failure_rate = max_failure_rate
        self.retry: Any = OmegaConf.to_container(retry) if retry else {}
        self.resume_from: Any = OmegaConf.to_container(resume_from) if resume_from else {}
        self.enqueue: Any = OmegaConf.to_container(enqueue) if enqueue else []
        self.sampler = sampler
        self.pruner = pruner
        self.metric_names = [str(name) for name in metric_names or ()]

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what `sweep` needs; called by Hydra."""
        self.hydra_context: HydraContext = hydra_context
        self.task_function = task_function
        self.config: DictConfig = config

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Run the study up to its budget; called by Hydra with the command line's overrides.

        Returns one batch, as Hydra's own sweeper does: what the jobs of this session returned, in
        the order of their trials' numbers.
        """
        # Optuna takes a tenth of a second to import: not for --help.
        from harnest.study.constraints import constraints_of
        from harnest.study.execution.executor import executor_for
        from harnest.study.plan import StudyPlan
        from harnest.study.run_study import run_study
        from harnest.study.space.search_space import SearchSpace
        from harnest.study.storage.optuna_storage import absolute_address

        searches = [f"{key!s}={value}" for key, value in (self.params or {}).items()]
        loader = self.hydra_context.config_loader
        space = SearchSpace.parse(arguments, loader, params=searches, conditions=self.conditions)
        if set(self.directions) - {"minimize", "maximize"}:
            raise StudyError(f"direction {self.directions}: choose minimize or maximize")
        if self.metric_names and len(self.metric_names) != len(self.directions):
            raise StudyError(
                f"metric_names {self.metric_names}: give one for each of the "
                f"{len(self.directions)} objectives in direction"
            )
        if self.n_trials is not None and not (isinstance(self.n_trials, int) and self.n_trials > 0):
            raise StudyError(f"n_trials={self.n_trials}: a study needs at least one trial")
        for reason, times in self.retry.items():
            if isinstance(times, bool) or not isinstance(times, int) or times < 0:
                raise StudyError(f"retry.{reason}={times}: give a whole number of times, 0 or more")
        if not (_is_number(self.timeout) or self.timeout is None):
            raise StudyError(f"timeout={self.timeout}: give a number of seconds")
        if not (_is_number(self.max_failure_rate) and 0 <= self.max_failure_rate <= 1):
            raise StudyError(f"max_failure_rate={self.max_failure_rate}: it must be from 0 to 1")
        if self.sampler is not None and self.sampler["_target_"] in COMPLETE:
            if not space.is_grid:
                raise StudyError(
                    "hydra/sweeper/sampler tries every combination: an interval has no end of them"
                )
            self.sampler = None  # a grid is run completely, without a sampler
        name = str(self.study or space.name)  # 2026 is a number to YAML
        if not re.fullmatch(r"[\w.+-]+", name):
            raise StudyError(f"study {name!r}: use letters, digits and . _ + - only")
        if os.environ.get(STUDY) == name and NUMBER in os.environ:
            # As Lightning does for each device but the first.
            raise StudyError(
                f"trial {os.environ[NUMBER]} of study {name} has started the sweep again; "
                "let a trial train on one device, in one process"
            )
        self._set_override("study", name)
        if self.storage is not None:
            self.storage = absolute_address(self.storage)
            # Jobs write their hydra config to disk: the address may hold a password.
            os.environ[STORAGE] = self.storage
            self._set_override("storage", f"${{oc.env:{STORAGE}}}")
        plan = StudyPlan(
            name=name,
            directory=Path(self.config.hydra.sweep.dir),
            space=space,
            directions=self.directions,
            n_trials=self.n_trials,
            address=self.storage,
            sampler=self.sampler,
            pruner=self.pruner,
            timeout=self.timeout,
            max_failure_rate=self.max_failure_rate,
            retry=self.retry,
            resume_from=self.resume_from,
            constraints=constraints_of(self.constraints),
            enqueue=self.enqueue,
            metric_names=self.metric_names,
        )
        task = as_study_task(self.task_function)
        plan.check(self.config, loader, task.check)
        if not space.parameters:
            plan.check(self.config, loader, task.check_unsearched)
        launcher = self._launcher()
        executor = executor_for(launcher, self.batch, self.config.hydra.launcher, plan.directory)
        self._warn_about_directories()
        callbacks = [*self.hydra_context.callbacks.callbacks, *task.callbacks]
        return [run_study(plan, executor, callbacks, OmegaConf.to_yaml(self.config))]

    def _warn_about_directories(self) -> None:
        """Warn if a configured directory is not used, or is a new one each time."""
        told: Any = OmegaConf.to_container(self.config.hydra.sweep, resolve=False)
        if told["subdir"] != _SUBDIR:
            _log.warning(
                "hydra.sweep.subdir=%s is not used: the directory of a trial is its number, %s",
                *(told["subdir"], _SUBDIR),
            )
        if _is_dated(self.config):
            what = "starts a new study" if self.storage is None else "resumes in a new directory"
            _log.warning(
                "hydra.sweep.dir=%s holds the time, so the same command %s; to resume a study in "
                "its directory, give hydra.sweep.dir='%s'",
                *(told["dir"], what, _DIR),
            )

    def _set_override(self, key: str, value: str) -> None:
        """Set a key of the sweeper as if it had been given on the command line.

        Hydra composes each job's config from the overrides, and rejects one whose sweeper config
        differs.
        """
        with read_write(self.config.hydra):
            overrides = self.config.hydra.overrides
            # As they stand: some can be resolved in a job alone.
            lines: Any = OmegaConf.to_container(overrides.hydra, resolve=False)
            rest = [line for line in lines if f"hydra.sweeper.{key}=" not in line]
            overrides.hydra = [*rest, f"hydra.sweeper.{key}='{value}'"]
            self.config.hydra.sweeper[key] = value

    def _launcher(self) -> Launcher:
        target = self.config.hydra.launcher._target_
        plugin = re.match(r"hydra_plugins\.hydra_([a-z]+)_launcher\b", target)
        if plugin is not None and find_spec(plugin[0]) is None:
            raise StudyError(f"this launcher is not installed: pip install 'harnest[{plugin[1]}]'")
        return Plugins.instance().instantiate_launcher(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=self.config,
        )


def _is_dated(config: DictConfig) -> bool:
    """Whether the time is in the sweep's directory, in whatever key that was written."""
    config = copy.deepcopy(config)
    OmegaConf.clear_cache(config)
    OmegaConf.select(config, "hydra.sweep.dir")
    return bool(OmegaConf.get_cache(config).get("now"))  # Hydra lets it answer the same each time


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _register() -> None:
    store = ConfigStore.instance()
    store.store(
        group="hydra/sweeper",
        name="study",
        package="hydra",
        provider="harnest",
        replace=True,  # a trial's process has the store already when it imports this
        node={
            "defaults": [
                "_self_",
                {"/hydra/sweeper/sampler@sweeper.sampler": None},
                {"/hydra/sweeper/pruner@sweeper.pruner": None},
            ],
            "sweeper": {
                "_target_": "harnest.study.sweeper.StudySweeper",
                "study": None,
                "direction": "minimize",
                "metric_names": None,
                "n_trials": None,
                "storage": None,
                "params": {},
                "conditions": None,
                "constraints": None,
                "batch": None,
                "timeout": None,
                "max_failure_rate": 0.9,
                "retry": dict.fromkeys(("error", "oom", "nan", "timeout", "killed"), 0),
                "resume_from": {},
                "enqueue": [],
            },
            "sweep": {"dir": _DIR, "subdir": _SUBDIR},
        },
    )
    for part, choices in (("pruner", PRUNERS), ("sampler", SAMPLERS)):
        for name, node in choices.items():
            group = f"hydra/sweeper/{part}"
            store.store(group=group, name=name, node=node, provider="harnest", replace=True)


_register()
