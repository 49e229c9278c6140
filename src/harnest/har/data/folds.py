"""Cross-validation folds of subjects."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from harnest.core.errors import ConfigError


def folds(
    subjects: Sequence[int], count: int | Literal["loso"], *, seed: int
) -> tuple[tuple[int, ...], ...]:
    """Distribute subjects evenly among folds.

    Args:
        subjects: The subjects.
        count: The number of folds; ``loso`` (leave one subject out) makes one fold per subject.
        seed: Seed of the random assignment.

    Returns:
        The subjects that each fold holds out, ascending.

    Raises:
        ConfigError: There are fewer subjects than folds.
    """
    number = len(subjects) if count == "loso" else count
    if number > len(subjects):
        raise ConfigError(
            f"folds={count}: only {len(subjects)} subjects are not held out for testing: "
            "ask for fewer folds, or for loso"
        )
    if count == "loso":
        return tuple((subject,) for subject in sorted(subjects))
    dealt = np.random.default_rng((seed, 2)).permutation(sorted(subjects)).tolist()
    return tuple(tuple(sorted(dealt[first::number])) for first in range(number))
