"""Replicates: the jobs whose mean score is a trial's score, such as folds or seeds."""

from dataclasses import dataclass

from harnest.core.errors import StudyError


@dataclass(frozen=True)
class Replicate:
    """One of a trial's jobs: its overrides, and its name, which its directory has as well."""

    name: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Replicates:
    """What a trial's job returns instead of a score, to have it made of these replicates' scores.

    Each is the same job again with its own overrides, in its own directory. The study reports
    a replicate's score at the step of its place in the row, and its pruner may stop the trial
    before the last one. Raises `StudyError` for two of the same name.
    """

    replicates: tuple[Replicate, ...]

    def __post_init__(self) -> None:
        names = [replicate.name for replicate in self.replicates]
        if len(set(names)) < len(names):
            raise StudyError(f"two replicates of a trial have one name: {', '.join(names)}")
