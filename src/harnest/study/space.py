"""What a study searches: some keys over ranges or choices, all others fixed."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from harnest.errors import StudyError


@dataclass(frozen=True)
class SearchSpace:
    """Distributions of the searched keys, and the overrides that all trials share.

    ``intervals`` are those searched keys that are drawn from an interval; the others list
    their values.
    """

    searched: Mapping[str, BaseDistribution]
    fixed: tuple[str, ...]
    intervals: frozenset[str]

    @staticmethod
    def parse(arguments: Sequence[str]) -> "SearchSpace":
        """Read overrides in hydra-optuna-sweeper's words; a later one replaces an earlier one.

        Raises `StudyError` for a search that holds nothing.
        """
        from hydra_plugins.hydra_optuna_sweeper._impl import (
            create_optuna_distribution_from_override,
        )

        searched: dict[str, BaseDistribution] = {}
        fixed: dict[str, str] = {}
        intervals = set()
        for override in OverridesParser.create().parse_overrides(list(arguments)):
            key, line = override.get_key_element(), str(override.input_line)
            if not override.is_sweep_override():
                searched.pop(key, None)
                fixed[key] = line
                continue
            fixed.pop(key, None)
            try:
                searched[key] = create_optuna_distribution_from_override(override)
            except (ValueError, AssertionError) as error:
                raise StudyError(f"{line} cannot be searched: {error}") from error
            if override.is_interval_sweep():
                intervals.add(key)
        return SearchSpace(searched, tuple(fixed.values()), frozenset(intervals & set(searched)))

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """One line per searched key, then one per fixed override: what names this space."""
        searched = sorted(f"{key} in {_describe(d)}" for key, d in self.searched.items())
        return (*searched, *sorted(self.fixed))

    @property
    def name(self) -> str:
        """A name for a study that was given none: the searched keys and a digest of all."""
        keys = "+".join(key.rpartition(".")[2].rpartition("/")[2] for key in self.searched)
        digest = hashlib.sha256("\n".join(self.lines).encode()).hexdigest()
        return f"{keys[:40]}-{digest[:6]}"

    @property
    def is_grid(self) -> bool:
        """Whether every searched key only lists values."""
        return not self.intervals

    def grid(self) -> Iterator[dict[str, Any]]:
        """Every combination, the last key changing fastest."""
        values = [_values(d) for d in self.searched.values()]
        for combination in itertools.product(*values):
            yield dict(zip(self.searched, combination, strict=True))

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """The command line of the trial that tries ``params``."""
        return [*self.fixed, *(f"{key}={_as_override(value)}" for key, value in params.items())]

    def samples(self) -> Iterator[dict[str, Any]]:
        """Combinations that together name every choice, and both ends of every range, once."""
        ends = {key: _ends(d) for key, d in self.searched.items()}
        for index in range(max((len(values) for values in ends.values()), default=1)):
            yield {key: values[min(index, len(values) - 1)] for key, values in ends.items()}

    def as_json(self) -> str:
        """The searched distributions, as Optuna writes them."""
        parts = {key: json.loads(distribution_to_json(d)) for key, d in self.searched.items()}
        return json.dumps(parts)


def _values(distribution: BaseDistribution) -> list[Any]:
    """The values that a distribution lists."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    assert distribution.step is not None, "an interval lists no values"
    steps = round((distribution.high - distribution.low) / distribution.step)
    return [distribution.low + index * distribution.step for index in range(steps + 1)]


def _ends(distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return [distribution.low, distribution.high]


def _describe(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return f"({', '.join(_as_override(choice) for choice in distribution.choices)})"
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    step = "" if distribution.step in (None, 1) else f" step {distribution.step}"
    return f"[{distribution.low} to {distribution.high}]{step}{' log' if distribution.log else ''}"


def _as_override(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
