"""What a study searches: some keys over ranges or choices, all others fixed."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Transformer
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

    ``listed`` are the values, in order, of those searched keys that list them; the others are
    drawn from an interval. ``prefixes`` are the ``+`` or ``++`` of keys that are added.
    """

    searched: Mapping[str, BaseDistribution]
    fixed: tuple[str, ...]
    listed: Mapping[str, tuple[Any, ...]]
    prefixes: Mapping[str, str]

    @staticmethod
    def parse(arguments: Sequence[str], loader: ConfigLoader | None = None) -> "SearchSpace":
        """Read overrides in hydra-optuna-sweeper's words; a later one replaces an earlier one.

        ``loader`` knows the choices that a ``glob`` stands for. Raises `StudyError` for a search
        that holds nothing.
        """
        searched: dict[str, BaseDistribution] = {}
        fixed: dict[str, str] = {}
        listed: dict[str, tuple[Any, ...]] = {}
        prefixes: dict[str, str] = {}
        for override in OverridesParser.create(loader).parse_overrides(list(arguments)):
            element, line = override.get_key_element(), str(override.input_line)
            key = element.lstrip("+")
            for known in (searched, fixed, listed, prefixes):
                known.pop(key, None)
            if not override.is_sweep_override():
                fixed[key] = line
                continue
            try:
                searched[key] = _distribution(override)
                if override.is_discrete_sweep():
                    listed[key] = tuple(override.sweep_iterator(_encode))
            except (ValueError, AssertionError) as error:
                raise StudyError(f"{line} cannot be searched: {error}") from error
            prefixes[key] = element.removesuffix(key)
        return SearchSpace(searched, tuple(fixed.values()), listed, prefixes)

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
        return set(self.listed) == set(self.searched)

    def grid(self) -> Iterator[dict[str, Any]]:
        """Every combination, the last key changing fastest."""
        values = [self.listed[key] for key in self.searched]
        for combination in itertools.product(*values):
            yield dict(zip(self.searched, combination, strict=True))

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """The command line of the trial that tries ``params``."""
        searched = (f"{self.prefixes[k]}{k}={_as_override(v)}" for k, v in params.items())
        return [*self.fixed, *searched]

    def samples(self) -> Iterator[dict[str, Any]]:
        """Combinations that together name every choice, and both ends of every range, once."""
        ends = {key: _ends(d) for key, d in self.searched.items()}
        for index in range(max((len(values) for values in ends.values()), default=1)):
            yield {key: values[min(index, len(values) - 1)] for key, values in ends.items()}

    def as_json(self) -> str:
        """The searched distributions, as Optuna writes them."""
        parts = {key: json.loads(distribution_to_json(d)) for key, d in self.searched.items()}
        return json.dumps(parts)


def _distribution(override: Override) -> BaseDistribution:
    from hydra_plugins.hydra_optuna_sweeper._impl import create_optuna_distribution_from_override

    if override.is_choice_sweep():
        choices: list[Any] = list(override.sweep_iterator(_encode))
        if len(set(choices)) < len(choices):
            raise ValueError("it lists the same value twice")
        return CategoricalDistribution(choices)
    distribution: BaseDistribution = create_optuna_distribution_from_override(override)
    return distribution


def _encode(value: Any) -> Any:
    """A value that Optuna can keep; words, lists and the like as they stand in an override."""
    return value if isinstance(value, bool | int | float) else Transformer.str(value)


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
