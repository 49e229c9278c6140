"""Subjects to training, validation and test: whole people, never parts of one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harnest.errors import ConfigError, DataError

Share = float | Sequence[int]
"""Whom a part takes: a fraction of the subjects, or a list of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Which windows, as ascending indices, and which subjects belong to each part."""

    train: NDArray[np.intp]
    validation: NDArray[np.intp]
    test: NDArray[np.intp]
    train_subjects: tuple[int, ...]
    validation_subjects: tuple[int, ...]
    test_subjects: tuple[int, ...]


def split(
    subjects: ArrayLike,
    labels: ArrayLike,
    *,
    validation: Share | None,
    test: Share | Literal["official"],
    seed: int,
    official: Sequence[int] = (),
    activities: Sequence[str] = (),
) -> Split:
    """Return which of the n windows train, validate and test, so that no subject is in two parts.

    ``subjects`` and ``labels`` are those of the windows, (n,) each. A list names subjects. A
    fraction, between 0 and 1, picks that share of them, at least one, by ``seed`` alone: ``test``
    a share of all, ``validation`` a share of those who are not tested; without ``validation`` all
    of them are trained on. ``test="official"`` takes
    the ``official`` subjects, as far as they have windows. ``activities`` names the labels; an
    activity that it names and that has no window in some part is an error too.

    Raises `ConfigError` for a choice that cannot be made, and `DataError` where a part lacks an
    activity, which could then be neither learned nor judged.
    """
    subject_of, label_of = np.asarray(subjects), np.asarray(labels)
    everyone: list[int] = np.unique(subject_of).tolist()
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"data.split_seed={seed!r}: give a whole number, 0 or above")

    named = [] if validation is None else _named("validation", validation, everyone)
    if test == "official":
        if not official:
            raise ConfigError(
                "data.test=official: this data set names no test subjects: give a fraction, or a "
                f"list out of {everyone}"
            )
        testing = sorted(set(official) & set(everyone))
    else:
        testing = _chosen("test", test, everyone, set(named or ()), (seed, 0))
    overlap = sorted(set(testing) & set(named or ()))
    if overlap:
        raise ConfigError(
            f"data.validation={named}: subjects {overlap} are held out for testing: leave them out "
            "of it, or choose another data.test"
        )
    rest = [subject for subject in everyone if subject not in testing]
    validating = named
    if validating is None:
        assert validation is not None
        validating = _chosen("validation", validation, rest, set(), (seed, 1))
    training = [subject for subject in rest if subject not in validating]

    parts = {"training": training, "validation": validating, "test": testing}
    indices: dict[str, NDArray[np.intp]] = {}
    for part, members in parts.items():
        if not members and not (part == "validation" and validation is None):
            raise ConfigError(
                f"no subject is left for {part}: of {len(everyone)}, data.test takes "
                f"{len(testing)} and data.validation {len(validating)}: let them take others"
            )
        indices[part] = np.flatnonzero(np.isin(subject_of, members))
        if members:
            _check_activities(part, members, label_of[indices[part]], label_of, activities)
    return Split(
        train=indices["training"],
        validation=indices["validation"],
        test=indices["test"],
        train_subjects=tuple(training),
        validation_subjects=tuple(validating),
        test_subjects=tuple(testing),
    )


def _named(key: str, share: Share, everyone: list[int]) -> list[int] | None:
    """Return the subjects that ``share`` lists, ascending, or None where it is a fraction."""
    if isinstance(share, float):
        if not 0 < share < 1:
            raise ConfigError(f"data.{key}={share}: a fraction lies between 0 and 1, both excluded")
        return None
    if isinstance(share, str) or not isinstance(share, Sequence):
        official = "official, " if key == "test" else ""
        raise ConfigError(
            f"data.{key}={share}: give {official}a fraction such as 0.2, or a list of subjects "
            f"such as [{everyone[0]}]"
        )
    unknown = [subject for subject in share if subject not in everyone]
    if unknown or not share:
        problem = f"no subject {', '.join(map(str, unknown))}" if unknown else "nobody is named"
        raise ConfigError(f"data.{key}={list(share)}: {problem}; subjects are {everyone}")
    return sorted(set(share))


def _chosen(
    key: str, share: Share, everyone: list[int], taken: set[int], seed: tuple[int, int]
) -> list[int]:
    """Return whom ``share`` lists, or the fraction of ``everyone`` that ``seed`` picks."""
    named = _named(key, share, everyone)
    if named is not None:
        return named
    assert isinstance(share, float)
    count = max(1, round(share * len(everyone)))
    free = [subject for subject in everyone if subject not in taken]
    picked: list[int] = np.random.default_rng(seed).permutation(free)[:count].tolist()
    return sorted(picked)


def _check_activities(
    part: str,
    members: list[int],
    present: NDArray[np.int64],
    everywhere: NDArray[np.int64],
    activities: Sequence[str],
) -> None:
    wanted = set(range(len(activities))) or set(np.unique(everywhere).tolist())
    missing = sorted(wanted - set(np.unique(present).tolist()))
    if not missing:
        return
    names = ", ".join(str(activities[label]) if activities else str(label) for label in missing)
    if set(missing).isdisjoint(everywhere.tolist()):
        raise DataError(
            f"no subject has a window of {names}: shorten data.window, or leave that activity out"
        )
    raise DataError(
        f"{part} (subjects {members}) has no window of {names}: choose other subjects with "
        "data.test, data.validation or data.split_seed, or shorten data.window"
    )
