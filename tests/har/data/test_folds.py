"""Folds: every subject is held out exactly once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harnest.core.errors import ConfigError
from harnest.har.data.folds import folds

SUBJECTS = st.lists(st.integers(1, 99), min_size=2, max_size=40, unique=True)


@given(SUBJECTS, st.data(), st.integers(0, 5))
def test_each_subject_is_in_one_fold_and_folds_are_even(subjects, data, seed):
    count = data.draw(st.integers(2, len(subjects)))
    dealt = folds(subjects, count, seed=seed)
    assert sorted(subject for fold in dealt for subject in fold) == sorted(subjects)
    sizes = [len(fold) for fold in dealt]
    assert len(dealt) == count
    assert max(sizes) - min(sizes) <= 1
    assert dealt == folds(subjects[::-1], count, seed=seed)


@given(SUBJECTS)
def test_leave_one_subject_out(subjects):
    assert folds(subjects, "loso", seed=0) == tuple((s,) for s in sorted(subjects))


def test_the_seed_deals_them_out():
    dealt = {folds(range(20), 4, seed=seed) for seed in range(5)}
    assert len(dealt) == 5


def test_too_many_folds_are_refused():
    with pytest.raises(ConfigError, match="folds=4: only 3 subjects"):
        folds([1, 2, 3], 4, seed=0)
