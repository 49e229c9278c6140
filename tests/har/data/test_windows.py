import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harnest.core.errors import DataError
from harnest.har.data.windows import cut_windows
from made import data_set


def test_windows_start_with_their_segment_and_never_cross_its_end():
    # Segments of 7 and 4 steps, the first from step 3, the second from step 13.
    windows = cut_windows(data_set({1: [7, 4], 2: [4]}), 4, 2)
    firsts = windows.signals[:, 0, 0].tolist()
    assert firsts == [1003, 1005, 1013, 2003]
    assert windows.labels.tolist() == [0, 0, 1, 0]
    assert windows.subjects.tolist() == [1, 1, 1, 2]
    assert windows.signals[1, :, 1] == pytest.approx(np.arange(1005, 1009) + 0.1)


@given(
    st.dictionaries(
        st.integers(1, 5), st.lists(st.integers(1, 40), min_size=1, max_size=4), min_size=1
    ),
    st.integers(1, 20),
    st.integers(1, 20),
)
def test_windows_are_those_that_a_plain_loop_finds(lengths, length, step):
    data = data_set(lengths)
    expected = [
        (recording.signal[start : start + length], segment.activity, recording.subject)
        for recording in data.recordings
        for segment in recording.segments
        for start in range(segment.start, segment.stop - length + 1, step)
    ]
    if not expected:
        with pytest.raises(DataError):
            cut_windows(data, length, step)
        return
    windows = cut_windows(data, length, step)
    signals, labels, subjects = zip(*expected, strict=True)
    np.testing.assert_array_equal(windows.signals, np.stack(signals))
    assert windows.labels.tolist() == list(labels)
    assert windows.subjects.tolist() == list(subjects)
    assert [array.dtype.str for array in windows] == ["<f4", "<i8", "<i8"]


def test_a_window_longer_than_every_segment_is_told_the_longest():
    with pytest.raises(DataError, match=r"3 s \(30 steps\).*longest has 2\.5 s \(25 steps\)"):
        cut_windows(data_set({1: [7, 25], 2: [4]}), 30, 10)


@pytest.mark.parametrize(("length", "step"), [(0, 1), (1, 0), (-3, 2)])
def test_lengths_below_one_step_are_refused(length, step):
    with pytest.raises(ValueError, match="at least 1"):
        cut_windows(data_set({1: [7]}), length, step)
