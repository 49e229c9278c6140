"""The search space: parameters over ranges or choices, and fixed overrides."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from optuna.distributions import FloatDistribution, distribution_to_json

from harnest.core.errors import StudyError
from harnest.study.space.parameter import Condition, Parameter, as_override, encode, unquoted

if TYPE_CHECKING:
    import optuna

#: A combination of values in a form that can be compared.
Point = frozenset[tuple[str, Any]]


@dataclass(frozen=True)
class SearchSpace:
    """The searched parameters, ordered so that conditions come first, and the fixed overrides.

    A space without parameters has one trial. Values of a trial are keyed by config key; only `draw`
    and `named` use Optuna's names.
    """

    parameters: tuple[Parameter, ...]
    fixed: tuple[str, ...]

    @staticmethod
    def parse(
        arguments: Sequence[str],
        loader: ConfigLoader | None = None,
        *,
        params: Sequence[str] = (),
        conditions: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> "SearchSpace":
        """Parse overrides in the syntax of hydra-optuna-sweeper; later ones replace earlier ones.

        Args:
            arguments: The command line's overrides; they also replace ``params`` and
                ``conditions``.
            loader: Hydra's config loader, which resolves ``glob``.
            params: Searches of the sweeper's config.
            conditions: Further searches by the ``KEY=VALUE`` under which they apply.

        Raises:
            StudyError: A search is empty, or a condition cannot be used.
        """
        parser = OverridesParser.create(loader)
        parameters: list[Parameter] = []
        fixed: list[Override] = []

        def replace_by(override: Override) -> None:
            key = _key(override)
            if override.is_list_extend():  # which adds to what stands before it
                if any(parameter.key == key for parameter in parameters):
                    raise StudyError(f"{override.input_line}: {key} is searched; extend its lists")
                fixed.append(override)
                return
            parameters[:] = [parameter for parameter in parameters if parameter.key != key]
            fixed[:] = [one for one in fixed if _key(one) != key]
            if override.is_sweep_override():
                parameters.append(Parameter.parse(override))
            else:
                fixed.append(override)

        for override in parser.parse_overrides(list(params)):
            replace_by(override)
        for condition, inside in (conditions or {}).items():
            when = Condition.parse(parser.parse_override(str(condition)))
            lines = [f"{key!s}={value}" for key, value in inside.items()]
            parameters += [Parameter.parse(one, when) for one in parser.parse_overrides(lines)]
        for override in parser.parse_overrides(list(arguments)):
            replace_by(override)
        given = {_key(one): encode(one.value()) for one in fixed if not one.is_delete()}
        lines = [str(override.input_line) for override in fixed]
        return SearchSpace(_in_order(parameters, given), tuple(lines))

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The searched keys."""
        return tuple(dict.fromkeys(parameter.key for parameter in self.parameters))

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """One line per searched key, then one per fixed override: what names this space."""
        return (*sorted(map(str, self.parameters)), *sorted(self.fixed))

    @property
    def name(self) -> str:
        """A name for a study that was given none: the searched keys and a digest of all."""
        lasts = (key.rpartition(".")[2].rpartition("/")[2] for key in self.keys)
        # Some keys hold more than a study's name may: items[0], optimizer@second.
        keys = "+".join(re.sub(r"[^\w.-]+", "-", last).strip("-") for last in lasts) or "one"
        digest = hashlib.sha256("\n".join(self.lines).encode()).hexdigest()
        return f"{keys[:40]}-{digest[:6]}"

    @property
    def is_grid(self) -> bool:
        """Whether every searched key only lists values."""
        return all(parameter.listed is not None for parameter in self.parameters)

    def grid(self) -> Iterator[dict[str, Any]]:
        """Every combination, the last key changing fastest."""
        return _combinations(self.parameters, {})

    def draw(self, trial: "optuna.Trial") -> None:
        """Let ``trial`` suggest a value for each active parameter."""
        self._choose(lambda parameter: parameter.suggest(trial))

    def samples(self) -> Iterator[dict[str, Any]]:
        """Combinations that cover each choice and both ends of each range, by condition."""
        asked = dict.fromkeys(
            (s.when.key, v) for s in self.parameters if s.when for v in s.when.values
        )
        longest = max((len(parameter.ends) for parameter in self.parameters), default=1)
        seen: list[dict[str, Any]] = []
        for forced in ({}, *(self._forced(key, value) for key, value in asked)):
            for index in range(longest):
                values = self._choose(_nth(index, forced))
                if values not in seen:
                    seen.append(values)
                    yield values

    def _forced(self, key: str, value: Any) -> dict[str, Any]:
        """Values by key under which ``key`` is searched and has ``value``."""
        before = next(parameter.when for parameter in self.parameters if parameter.key == key)
        return {key: value} | (self._forced(before.key, before.values[0]) if before else {})

    def _choose(self, value_of: Callable[[Parameter], Any]) -> dict[str, Any]:
        """Values of one trial: one for each search that is on, given those before it."""
        chosen: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.is_active(chosen):
                chosen[parameter.key] = value_of(parameter)
        return chosen

    def choices(self, seen: Mapping[str, Any]) -> dict[str, Any]:
        """Optuna's values for these values of a job; None if a value cannot be chosen.

        Keys that are not searched under these values are left out.
        """
        chosen: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.key in seen and parameter.is_active(chosen):
                chosen[parameter.key] = parameter.choice(seen[parameter.key])
        return chosen

    def answered(self, values: Mapping[str, Any]) -> dict[str, Parameter]:
        """By key, the searches that are on among ``values`` and have one there."""
        return {s.key: s for s in self.parameters if s.key in values and s.is_active(values)}

    def named(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """``values`` by Optuna's names; keys that are not searched then are left out."""
        return {parameter.name: values[key] for key, parameter in self.answered(values).items()}

    def point(self, named: Mapping[str, Any]) -> Point:
        """The point that Optuna's values stand for, whether they were enqueued or drawn.

        Decimals are compared up to their last digit.
        """
        return frozenset(
            (name, round((value - d.low) / d.step) if (d := self._steps.get(name)) else value)
            for name, value in named.items()
        )

    @cached_property
    def _steps(self) -> dict[str, Any]:
        """Ranges of decimals, by Optuna's names."""
        every = {parameter.name: parameter.distribution for parameter in self.parameters}
        return {n: d for n, d in every.items() if isinstance(d, FloatDistribution) and d.step}

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        """The command line of the trial that tries ``values``."""
        searched = (
            f"{parameter.prefix}{key}={as_override(values[key])}"
            for key, parameter in self.answered(values).items()
        )
        return [*self.fixed, *searched]

    def described(self) -> dict[str, Any]:
        """Distributions by key, as Optuna writes them; by condition where a key has several."""
        by_key: dict[str, dict[str, Any]] = {}
        for parameter in self.parameters:
            written = json.loads(distribution_to_json(parameter.distribution))
            by_key.setdefault(parameter.key, {})[str(parameter.when or "")] = written
        return {key: parts.get("", parts) for key, parts in by_key.items()}


def _key(override: Override) -> str:
    return override.get_key_element().lstrip("+")


def _combinations(
    parameters: Sequence[Parameter], chosen: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    if not parameters:
        yield {}
        return
    first, rest = parameters[0], parameters[1:]
    if not first.is_active(chosen):
        yield from _combinations(rest, chosen)
        return
    for value in first.listed or ():
        for others in _combinations(rest, {**chosen, first.key: value}):
            yield {first.key: value, **others}


def _nth(index: int, forced: Mapping[str, Any]) -> Callable[[Parameter], Any]:
    """The forced value of a search, else its end of this index, or its last one."""
    return lambda parameter: forced.get(
        parameter.key, parameter.ends[min(index, len(parameter.ends) - 1)]
    )


def _in_order(parameters: Sequence[Parameter], given: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """Order parameters after the keys of their conditions; drop those that are never searched."""
    waiting = _settled(parameters, given)
    placed: list[Parameter] = []
    while waiting:
        later = {one.key for one in waiting}
        ready = [one for one in waiting if one.when is None or one.when.key not in later]
        if not ready:
            raise _unusable(waiting[0].when, "these conditions ask for each other")
        placed += ready
        waiting = [one for one in waiting if one not in ready]
    for one in placed:
        _check_reachable(one.when, placed)
        _check_unique(one, placed)
    return tuple(_named(one, placed) for one in placed)


def _settled(parameters: Sequence[Parameter], given: Mapping[str, Any]) -> list[Parameter]:
    """The searches that may be on where ``given``, values by key, is fixed."""
    kept = [
        replace(one, when=None) if one.when and one.when.key in given else one
        for one in parameters
        if one.when is None or one.when.key not in given or one.when.holds(given)
    ]
    while True:  # one that is gone takes along those that ask for it
        gone = {one.key for one in parameters} - {one.key for one in kept}
        still = [one for one in kept if one.when is None or one.when.key not in gone]
        if len(still) == len(kept):
            return kept
        kept = still


def _check_reachable(when: Condition | None, placed: Sequence[Parameter]) -> None:
    if when is None:
        return
    asked = [parameter for parameter in placed if parameter.key == when.key]
    if not asked:
        raise _unusable(when, f"{when.key} is neither searched nor given")
    choices = [unquoted(value) for parameter in asked for value in parameter.listed or ()]
    for value in map(unquoted, when.values):
        if value not in choices and all(parameter.listed is not None for parameter in asked):
            raise _unusable(when, f"{when.key} never is {value}: it is {', '.join(choices)}")


def _check_unique(parameter: Parameter, placed: Sequence[Parameter]) -> None:
    for other in placed:
        one, two = parameter.when, other.when
        if other is parameter or other.key != parameter.key:
            continue
        if one and two and one.key == two.key and one.excludes(two):
            continue
        raise _unusable(one or two, f"{parameter.key} is searched under another condition as well")


def _unusable(when: Condition | None, why: str) -> StudyError:
    return StudyError(f"hydra.sweeper.conditions: {when}: {why}")


def _named(parameter: Parameter, placed: Sequence[Parameter]) -> Parameter:
    """Optuna knows one distribution for each name: a key with several gets several names."""
    same = all(o.distribution == parameter.distribution for o in placed if o.key == parameter.key)
    return parameter if same else replace(parameter, name=f"{parameter.key}[{parameter.when}]")
