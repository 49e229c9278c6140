import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harnest.core.errors import ConfigError, DataError
from harnest.har.data.splits import missing_activities, split

# Ten subjects with three windows of each of two activities.
SUBJECTS = np.repeat(np.arange(1, 11), 6)
LABELS = np.tile([0, 0, 0, 1, 1, 1], 10)
NAMES = ("rest", "walk")


def parts(**choices):
    defaults = {"validation": 0.2, "test": 0.2, "seed": 0, "activities": NAMES}
    return split(SUBJECTS, LABELS, **(defaults | choices))


shares = st.floats(0.01, 0.5) | st.lists(st.integers(1, 10), min_size=1, max_size=4, unique=True)


@given(validation=shares, test=shares | st.just("official"), seed=st.integers(0, 2**32))
def test_every_subject_is_in_one_part_with_all_its_windows(validation, test, seed):
    try:
        made = parts(validation=validation, test=test, seed=seed, official=(2, 9))
    except ConfigError:
        assume(False)
    members = [made.train_subjects, made.validation_subjects, made.test_subjects]
    assert sorted(subject for part in members for subject in part) == list(range(1, 11))
    for subjects, windows in zip(members, (made.train, made.validation, made.test), strict=True):
        assert subjects
        assert windows.tolist() == [
            index for index, subject in enumerate(SUBJECTS) if subject in subjects
        ]


@given(seed=st.integers(0, 1000), order=st.permutations(range(len(SUBJECTS))))
def test_the_seed_alone_chooses_whatever_the_order_of_windows(seed, order):
    order = np.array(order)
    one = parts(seed=seed)
    other = split(
        SUBJECTS[order], LABELS[order], validation=0.2, test=0.2, seed=seed, activities=NAMES
    )
    assert one.test_subjects == other.test_subjects
    assert one.validation_subjects == other.validation_subjects
    assert sorted(order[other.test]) == one.test.tolist()


def test_other_seeds_choose_others():
    assert len({parts(seed=seed).test_subjects for seed in range(20)}) > 5
    assert len({parts(test=[1], seed=seed).validation_subjects for seed in range(20)}) > 5


def test_fractions_are_of_whole_subjects_and_never_of_nobody():
    made = parts(test=0.3, validation=0.001)
    assert len(made.test_subjects) == 3
    assert len(made.validation_subjects) == 1


def test_whom_validation_names_no_fraction_takes_for_testing():
    for seed in range(20):
        made = parts(validation=[1, 2, 3, 4], test=0.5, seed=seed)
        assert made.validation_subjects == (1, 2, 3, 4)
        assert len(made.test_subjects) == 5


def test_without_validation_all_who_are_not_tested_are_trained_on():
    made = parts(validation=None, test=[2, 9])
    assert made.train_subjects == (1, 3, 4, 5, 6, 7, 8, 10)
    assert made.validation_subjects == ()
    assert len(made.validation) == 0
    assert len(made.train) + len(made.test) == len(SUBJECTS)


def test_lists_and_the_official_choice_are_taken_as_they_are():
    made = parts(test=[7, 3], validation=[10])
    assert made.test_subjects == (3, 7)
    assert made.validation_subjects == (10,)
    assert parts(test="official", official=(2, 4, 99)).test_subjects == (2, 4)


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"test": [1, 12]}, r"data\.test=\[1, 12\]: no subject 12; subjects are \[1, 2, 3"),
        ({"validation": [0]}, r"data\.validation=\[0\]: no subject 0"),
        ({"test": [1, 2], "validation": [2, 3]}, r"data\.validation=\[2, 3\]: subjects \[2\]"),
        ({"test": "official"}, r"data\.test=official: this data set names no test subjects"),
        ({"test": [1, 2, 3], "validation": list(range(4, 11))}, "no subject is left for training"),
        ({"test": 0.99, "validation": 0.2}, "no subject is left for validation|for training"),
        ({"validation": []}, r"data\.validation=\[\]: the list is empty"),
        ({"test": 1.0}, r"data\.test=1\.0: a fraction lies between 0 and 1"),
        ({"validation": 0.0}, r"data\.validation=0\.0: a fraction"),
        ({"validation": float("nan")}, r"data\.validation=nan: a fraction"),
        ({"test": 3}, r"data\.test=3: give official, a fraction .* such as \[1\]"),
        ({"validation": "official"}, r"data\.validation=official: give a fraction"),
        ({"test": ["a"]}, r"no subject a"),
        ({"seed": -1}, r"data\.split_seed=-1"),
        ({"seed": 1.5}, r"data\.split_seed=1\.5"),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused_in_one_line(choices, words):
    with pytest.raises(ConfigError, match=words) as caught:
        parts(**choices)
    assert "\n" not in str(caught.value)


def test_two_subjects_are_too_few():
    with pytest.raises(ConfigError, match="no subject is left for"):
        split([1, 2], [0, 0], validation=0.2, test=0.2, seed=0)


@pytest.mark.parametrize("nobody", [None, []])
def test_nobody_needs_to_be_tested(nobody):
    made = parts(test=nobody, validation=[3])
    assert made.test_subjects == ()
    assert len(made.test) == 0
    assert made.train_subjects == (1, 2, 4, 5, 6, 7, 8, 9, 10)


def test_the_activities_that_a_part_lacks_are_named():
    labels = np.where(SUBJECTS == 5, 0, LABELS)  # subject 5 never walks
    for validation, test, part in (([5], [1], "validation"), ([1], [5], "test")):
        made = split(SUBJECTS, labels, validation=validation, test=test, seed=0, activities=NAMES)
        [line] = missing_activities(made, labels, NAMES)
        assert line.startswith(f"no {part} subject has a window of walk: ")
    whole = split(SUBJECTS, labels, validation=[5, 6], test=[1], seed=0, activities=NAMES)
    assert missing_activities(whole, labels, NAMES) == []


def test_training_lacks_only_what_is_validated_or_tested():
    labels = np.where(SUBJECTS == 5, LABELS, 0)  # subject 5 alone walks
    made = split(SUBJECTS, labels, validation=[5], test=None, seed=0, activities=NAMES)
    assert missing_activities(made, labels, NAMES) == [
        "no training subject has a window of walk: it cannot be learned"
    ]


def test_an_activity_that_nobody_shows_is_refused_by_name():
    with pytest.raises(DataError, match=r"no subject has a window of jump: shorten data\.window"):
        parts(activities=("rest", "walk", "jump"))
