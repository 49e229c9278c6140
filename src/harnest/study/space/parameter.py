"""One searched key: its distribution, and the condition under which it is searched."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Transformer
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from harnest.core.errors import StudyError

if TYPE_CHECKING:
    import optuna

#: At the end of a name. Keys may hold brackets as well, in a condition too: ``items[0]``.
_CONDITION = re.compile(r"\[([^=\[\]]|\[[^=\[\]]*\])*=.*", re.DOTALL)


@dataclass(frozen=True)
class Condition:
    """Holds where ``key`` was given one of ``values``."""

    key: str
    values: tuple[Any, ...]

    @staticmethod
    def parse(override: Override) -> "Condition":
        """Read ``KEY=VALUE`` or ``KEY=VALUE,VALUE``."""
        if override.is_sweep_override():
            values = tuple(override.sweep_iterator(encode))
        else:
            values = (encode(override.value()),)
        return Condition(override.get_key_element(), values)

    def holds(self, chosen: Mapping[str, Any]) -> bool:
        """Whether it does for ``chosen``, values by key."""
        # As text, since Python takes 1 for true.
        wanted = map(unquoted, self.values)
        return self.key in chosen and unquoted(chosen[self.key]) in wanted

    def excludes(self, other: "Condition") -> bool:
        """Whether the two, on one key, never hold together."""
        return set(map(unquoted, self.values)).isdisjoint(map(unquoted, other.values))

    def __str__(self) -> str:
        return f"{self.key}={','.join(map(as_override, self.values))}"


@dataclass(frozen=True)
class Parameter:
    """A searched key.

    Attributes:
        key: The config key.
        name: Optuna's name: the key, followed by the condition in brackets if the key is also
            searched under another condition.
        distribution: Its distribution.
        listed: Its values in order, if it lists them; None for an interval.
        prefix: ``+`` or ``++`` of a key that is added to the config.
        when: The condition under which it is searched; None: always.
    """

    key: str
    name: str
    distribution: BaseDistribution
    listed: tuple[Any, ...] | None
    prefix: str
    when: Condition | None

    @staticmethod
    def parse(override: Override, when: Condition | None = None) -> "Parameter":
        """Read a search in hydra-optuna-sweeper's words; raises `StudyError` for an empty one."""
        element = override.get_key_element()
        key = element.lstrip("+")
        try:
            distribution, listed = _distribution(override)
        except (ValueError, AssertionError) as error:
            raise StudyError(f"{override.input_line} cannot be searched: {error}") from error
        return Parameter(key, key, distribution, listed, element.removesuffix(key), when)

    def is_active(self, chosen: Mapping[str, Any]) -> bool:
        """Whether the key is searched where ``chosen``, values by key, has been chosen."""
        return self.when is None or self.when.holds(chosen)

    def suggest(self, trial: "optuna.Trial") -> Any:
        """The value that ``trial`` draws."""
        name, d = self.name, self.distribution
        if isinstance(d, CategoricalDistribution):
            return trial.suggest_categorical(name, d.choices)
        if isinstance(d, IntDistribution):
            return trial.suggest_int(name, d.low, d.high, step=d.step, log=d.log)
        assert isinstance(d, FloatDistribution)
        return trial.suggest_float(name, d.low, d.high, step=d.step, log=d.log)

    def choice(self, value: Any) -> Any:
        """What is to be tried for a job to see ``value``; None where that may not be."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return next((choice for choice in d.choices if decode(choice) == value), None)
        assert isinstance(d, IntDistribution | FloatDistribution)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        is_whole = isinstance(d, FloatDistribution) or float(value).is_integer()
        return value if is_whole and d.low <= value <= d.high else None

    @property
    def ends(self) -> tuple[Any, ...]:
        """Every choice, or both ends of a range."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return tuple(d.choices)
        assert isinstance(d, IntDistribution | FloatDistribution)
        return (d.low, d.high)

    def __str__(self) -> str:
        d = self.distribution
        where = f" where {self.when}" if self.when else ""
        if isinstance(d, CategoricalDistribution):
            return f"{self.key} in ({', '.join(map(as_override, d.choices))}){where}"
        assert isinstance(d, IntDistribution | FloatDistribution)
        step = "" if d.step in (None, 1) else f" step {d.step}"
        return f"{self.key} in [{d.low} to {d.high}]{step}{' log' if d.log else ''}{where}"


def key_of(name: str) -> str:
    """The config key of the parameter ``name``."""
    return _CONDITION.sub("", name)


def encode(value: Any) -> Any:
    """Encode a value for Optuna; words, lists and mappings as override text."""
    return value if isinstance(value, bool | int | float) else Transformer.str(value)


def decode(value: Any) -> Any:
    """What a job sees of an encoded value."""
    return _read(value) if isinstance(value, str) else value


def unquoted(value: Any) -> str:
    """An encoded value as override text, without redundant quotes."""
    return as_override(encode(decode(value)))


def as_override(value: Any) -> str:
    """A value as override text."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


@cache
def _read(text: str) -> Any:
    return OverridesParser.create().parse_override(f"key={text}").value()


def _distribution(override: Override) -> tuple[BaseDistribution, tuple[Any, ...] | None]:
    from hydra_plugins.hydra_optuna_sweeper._impl import create_optuna_distribution_from_override

    if not override.is_sweep_override():  # a single value, tried where a condition holds
        single = (encode(override.value()),)
        return CategoricalDistribution(single), single
    listed: tuple[Any, ...] | None = None
    if override.is_discrete_sweep():
        listed = tuple(override.sweep_iterator(encode))
    if override.is_choice_sweep():
        assert listed is not None
        if len(set(listed)) < len(listed):
            raise ValueError("it lists the same value twice")
        return CategoricalDistribution(listed), listed
    return create_optuna_distribution_from_override(override), listed
