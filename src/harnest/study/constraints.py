"""Constraints: limits on quantities that trials measure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from harnest.core.errors import StudyError


@dataclass(frozen=True)
class Constraint:
    """The quantity ``name`` may be at most, or at least, ``limit``."""

    name: str
    at_most: bool
    limit: float

    def violation(self, value: float) -> float:
        """By how much ``value`` exceeds the limit; 0 or less if it does not."""
        return value - self.limit if self.at_most else self.limit - value


def constraints_of(texts: Mapping[str, str] | None) -> tuple[Constraint, ...]:
    """Read ``{NAME: "<= LIMIT"}`` or ``{NAME: ">= LIMIT"}``; raises `StudyError` for others."""
    read = []
    for name, text in (texts or {}).items():
        found = re.fullmatch(r"\s*(<=|>=)\s*([-+.\de]+)\s*", str(text))
        try:
            if found is None:
                raise ValueError
            read.append(Constraint(str(name), found[1] == "<=", float(found[2])))
        except ValueError as error:
            raise StudyError(
                f"hydra.sweeper.constraints: {name}: {text}: give a limit such as '<= 50000'"
            ) from error
    return tuple(read)
