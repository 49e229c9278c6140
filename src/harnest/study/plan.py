"""What a study is configured to be, before it is opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from harnest.core.type_check import check_type
from harnest.study.constraints import Constraint
from harnest.study.execution.config_cache import ConfigCache
from harnest.study.space.search_space import SearchSpace
from harnest.study.storage.optuna_storage import journal_address
from harnest.study.study_task import Check

_DEFAULT_BUDGET = 20


@dataclass(frozen=True)
class StudyPlan:
    """A study's name, storage, search space and budget.

    Attributes:
        name: Its name.
        directory: Its directory.
        space: The search space.
        directions: ``minimize`` or ``maximize`` for each objective.
        n_trials: The budget; None: the whole grid, or 20 trials.
        address: Address of the storage; None: a journal file in the directory.
        sampler: Its config; None: the grid if all searched keys list values, else TPE.
        pruner: Its config.
        timeout: Seconds after which this session starts no new trial.
        max_failure_rate: Share of failed trials that stops the session.
        retry: By reason, how often a failed trial is run again.
        resume_from: By config key, the file in a trial's directory that a retry starts from.
        constraints: Limits on what jobs measure.
        enqueue: Configurations to try first: parameters, or the folder of a study with its best
            ones.
        metric_names: Names of the objectives, or none.
    """

    name: str
    directory: Path
    space: SearchSpace
    directions: Sequence[str]
    n_trials: int | None
    address: str | None
    sampler: DictConfig | None
    pruner: DictConfig | None
    timeout: float | None
    max_failure_rate: float
    retry: Mapping[str, int]
    resume_from: Mapping[str, str]
    constraints: Sequence[Constraint]
    enqueue: Sequence[Mapping[str, Any] | str]
    metric_names: Sequence[str] = ()

    @property
    def is_grid(self) -> bool:
        """Whether every combination is run, instead of what a sampler draws."""
        return self.space.is_grid and self.sampler is None

    @cached_property
    def budget(self) -> int:
        """Trials in all, over all times that the study is opened."""
        if self.is_grid:
            size = sum(1 for _ in self.space.grid())
            return min(self.n_trials or size, size)
        return self.n_trials or _DEFAULT_BUDGET

    @property
    def storage(self) -> str:
        """Address of the Optuna storage."""
        return self.address or journal_address(self.directory)

    def check(self, master: DictConfig, loader: ConfigLoader, limits: Check | None) -> None:
        """Compose the config of every choice and both ends of every range, and run none.

        ``master`` is the sweep's own config; ``limits`` is the application's own check of a
        config. Raises Hydra's errors for keys and choices that do not exist, `ConfigError` for
        values of the wrong kind, and what ``limits`` raises.
        """
        parser, composer = OverridesParser.create(), ConfigCache(loader, master)
        defaults: dict[tuple[str, ...], DictConfig] = {}
        for values in self.space.samples():
            lines = self.space.overrides(values)
            config = composer.compose(lines)
            overrides = parser.parse_overrides(lines)
            chosen = tuple(str(o.input_line) for o in overrides if composer.is_group(o))
            if chosen not in defaults:
                defaults[chosen] = composer.compose(chosen)
            for override in overrides:
                if not composer.is_group(override) and not override.is_delete():
                    check_type(override.key_or_group, override.value(), defaults[chosen])
            if limits is not None:
                limits(config)
