"""Split of windows into training, validation and test parts by subject."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harnest.core.errors import ConfigError, DataError

Share = float | Sequence[int]
"""The subjects of a part: a fraction of the subjects, or a list of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Window indices, ascending, and subjects of each part."""

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
    test: Share | Literal["official"] | None,
    seed: int,
    official: Sequence[int] = (),
    activities: Sequence[str] = (),
) -> Split:
    """Split n windows into training, validation and test parts, so that parts share no subject.

    A list names subjects. A fraction, between 0 and 1, selects that share of them, at least one, at
    random. A part may lack some of the activities: see `missing_activities`.

    Args:
        subjects: The subject of each window, (n,).
        labels: The label of each window, (n,).
        validation: The validation subjects; a fraction is of those not in the test part. None
            trains on all of them.
        test: The test subjects; a fraction is of all subjects. ``official`` selects the subjects in
            ``official`` that have windows. None or an empty list leaves the test part empty.
        seed: Seed of the random selection; nothing else affects it.
        official: The test subjects defined by the data set's authors.
        activities: The names of the labels.

    Raises:
        ConfigError: The selection is invalid, or leaves a part without subjects.
        DataError: No subject has a window of one of the activities.
    """
    subject_of, label_of = np.asarray(subjects), np.asarray(labels)
    everyone: list[int] = np.unique(subject_of).tolist()
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"data.split_seed={seed!r}: give a whole number, 0 or above")

    _check_activities(label_of, activities)
    is_tested = test is not None and (not _is_list(test) or bool(test))
    named = [] if validation is None else _named("validation", validation, everyone)
    if test == "official":
        if not official:
            raise ConfigError(
                "data.test=official: this data set names no test subjects: give a fraction, or a "
                f"list out of {everyone}"
            )
        testing = sorted(set(official) & set(everyone))
        if not testing:
            raise ConfigError(
                f"data.test=official: none of the official test subjects {sorted(official)} has a "
                "window: give a fraction, a list of subjects, or a shorter data.window"
            )
    elif test is None or not is_tested:
        testing = []
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
        is_wanted = {"validation": validation is not None, "test": is_tested}.get(part, True)
        if not members and is_wanted:
            raise ConfigError(
                f"no subject is left for {part}: of {len(everyone)}, data.test takes "
                f"{len(testing)} and data.validation {len(validating)}: select other subjects"
            )
        indices[part] = np.flatnonzero(np.isin(subject_of, members))
    return Split(
        train=indices["training"],
        validation=indices["validation"],
        test=indices["test"],
        train_subjects=tuple(training),
        validation_subjects=tuple(validating),
        test_subjects=tuple(testing),
    )


def _is_list(share: object) -> bool:
    return isinstance(share, Sequence) and not isinstance(share, str)


def _named(key: str, share: Share, everyone: list[int]) -> list[int] | None:
    """Return the subjects that ``share`` lists, ascending; None if it is a fraction."""
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
        problem = f"no subject {', '.join(map(str, unknown))}" if unknown else "the list is empty"
        raise ConfigError(f"data.{key}={list(share)}: {problem}; subjects are {everyone}")
    return sorted(set(share))


def _chosen(
    key: str, share: Share, everyone: list[int], taken: set[int], seed: tuple[int, int]
) -> list[int]:
    """Return the subjects that ``share`` lists, or a random fraction of ``everyone``."""
    named = _named(key, share, everyone)
    if named is not None:
        return named
    assert isinstance(share, float)
    count = max(1, round(share * len(everyone)))
    free = [subject for subject in everyone if subject not in taken]
    picked: list[int] = np.random.default_rng(seed).permutation(free)[:count].tolist()
    return sorted(picked)


def _check_activities(labels: NDArray[np.int64], activities: Sequence[str]) -> None:
    """Raise `DataError` if no subject has a window of some activity."""
    missing = sorted(set(range(len(activities))) - set(np.unique(labels).tolist()))
    if missing:
        names = ", ".join(activities[label] for label in missing)
        raise DataError(
            f"no subject has a window of {names}: shorten data.window, or leave that activity out"
        )


def missing_activities(made: Split, labels: ArrayLike, activities: Sequence[str]) -> list[str]:
    """Return one warning for each part that lacks activities.

    An activity that a part lacks affects its macro-F1 only if it is predicted: its F1 is then 0.
    The training part is listed only for activities that occur in validation or test.

    Args:
        made: The split.
        labels: The labels of all windows, (n,), indices into ``activities``.
        activities: The names of the labels.
    """
    label_of = np.asarray(labels)
    indices = {"training": made.train, "validation": made.validation, "test": made.test}
    present = {part: set(np.unique(label_of[one]).tolist()) for part, one in indices.items()}
    everything = set(range(len(activities)))
    lines = []
    for part, has in present.items():
        if len(indices[part]) == 0:
            continue
        wanted = present["validation"] | present["test"] if part == "training" else everything
        names = ", ".join(activities[label] for label in sorted(wanted - has))
        if names and part == "training":
            lines.append(f"no training subject has a window of {names}: it cannot be learned")
        elif names:
            lines.append(
                f"no {part} subject has a window of {names}: in {part} scores an activity that is "
                "missing counts only where it is predicted"
            )
    return lines
