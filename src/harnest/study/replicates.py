"""A trial whose score is the mean of several jobs': its folds, its seeds, or whatever they are."""

from dataclasses import dataclass

from harnest.core.errors import StudyError


@dataclass(frozen=True)
class Member:
    """One of a trial's jobs: its overrides, and its name, which its directory has as well."""

    name: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Members:
    """What a trial's job returns instead of a score, to have it made of these members' scores.

    Each is the same job again with overrides of its own, in a place of its own. The study takes
    note of a member's score at the step of its place in the row, and its pruner may give the trial
    up before the last one. Raises `StudyError` for two of the same name.
    """

    members: tuple[Member, ...]

    def __post_init__(self) -> None:
        names = [member.name for member in self.members]
        if len(set(names)) < len(names):
            raise StudyError(f"two members of a trial have one name: {', '.join(names)}")
