"""A trial whose score is the mean of several jobs': its folds, its seeds, or whatever they are."""

from dataclasses import dataclass


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
    up before the last one.
    """

    members: tuple[Member, ...]
