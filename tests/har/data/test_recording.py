from dataclasses import replace

import numpy as np
import pytest

from harnest.core.errors import DataError
from harnest.har.data.recording import Segment, check
from made import data_set

GOOD = data_set({1: [7, 4], 2: [4]})
FIRST, SECOND = GOOD.recordings


def with_first(**changes):
    return replace(GOOD, recordings=(replace(FIRST, **changes), SECOND))


def test_a_sound_data_set_passes_unchanged():
    assert check(GOOD) is GOOD
    assert GOOD.subjects == (1, 2)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (replace(GOOD, recordings=()), "no recordings"),
        (replace(GOOD, rate=0.0), "sampling rate"),
        (replace(GOOD, rate=float("nan")), "sampling rate nan"),
        (replace(GOOD, rate=float("inf")), "sampling rate inf"),
        (with_first(subject="anna"), "subject 'anna'; it must be a whole number"),
        (with_first(subject=1.5), r"subject 1\.5"),
        (with_first(segments=(Segment(0, 5, "walk"),)), "whole numbers"),
        (with_first(segments=(Segment(0, 5, 0.5),)), "whole numbers"),
        (replace(GOOD, activities=("walk", "walk")), "duplicate activity names"),
        (replace(GOOD, channels=GOOD.channels[:1] * 2), "duplicate channel names"),
        (replace(GOOD, recordings=(FIRST, FIRST)), "duplicate recording names"),
        (replace(GOOD, test_subjects=(2, 3)), r"test subjects \[3\] have no recording"),
        (with_first(signal=FIRST.signal.astype(float)), "float64"),
        (with_first(signal=FIRST.signal[:, :1]), "1 channels instead of 2"),
        (with_first(signal=np.full_like(FIRST.signal, np.nan)), "NaN"),
        (with_first(segments=(Segment(0, 1000, 0),)), "outside"),
        (with_first(segments=(Segment(5, 5, 0),)), "outside"),
        (with_first(segments=(Segment(-1, 5, 0),)), "outside"),
        (with_first(segments=(Segment(0, 5, 2),)), "has an unknown activity"),
    ],
)
def test_a_broken_promise_is_named(broken, words):
    with pytest.raises(DataError, match=words):
        check(broken)
