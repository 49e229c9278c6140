"""Recordings that users bring along: any columns, any rate, or a line that says what is wrong."""

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harnest.core.errors import DataError
from harnest.har.data.csv_recording import read_csv
from harnest.har.data.recording import Channel

CHANNELS = (Channel("acc_x", "g"), Channel("gyro_x", "rad/s"))
RATE = 50.0


def wave(times, hertz):
    return np.sin(2 * np.pi * hertz * times)


def write(path, columns):
    names, values = zip(*columns.items(), strict=True)
    lines = [
        ",".join(names),
        *(",".join(map(repr, map(float, row))) for row in zip(*values, strict=True)),
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def read(path, rate=None):
    return read_csv(path, CHANNELS, RATE, rate)


def test_channels_are_found_in_any_order_among_others_with_or_without_units(tmp_path):
    times = np.arange(100) / RATE + 7
    columns = {
        "mood": times,
        "Gyro_X [rad/s]": wave(times, 2),
        "time (s)": times,
        "acc_x": wave(times, 1),
    }
    recording = read(write(tmp_path / "a.csv", columns))
    assert recording.signal.dtype == np.float32
    np.testing.assert_allclose(recording.signal[:, 0], wave(times, 1), atol=1e-6)
    np.testing.assert_allclose(recording.signal[:, 1], wave(times, 2), atol=1e-6)
    assert (recording.start, recording.resampled_from) == (7.0, None)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.floats(51, 400), st.floats(0.2, 12))
@example(199.875, 4.0)  # no simple ratio
def test_a_faster_recording_is_brought_down_without_changing_what_can_stay(tmp_path, rate, hertz):
    """A sine that the lower rate carries comes out as it was, away from the ends."""
    times = np.arange(int(8 * rate)) / rate
    columns = {"acc_x": wave(times, hertz), "gyro_x": np.full(len(times), 3.0)}
    recording = read(write(tmp_path / "a.csv", columns), rate)
    assert recording.resampled_from == rate
    kept = np.arange(len(recording.signal)) / RATE
    assert abs(kept[-1] - times[-1]) < 2 / RATE + 8 / 1000
    middle = slice(50, -50)
    np.testing.assert_allclose(recording.signal[middle, 0], wave(kept, hertz)[middle], atol=0.05)
    np.testing.assert_allclose(recording.signal[:, 1], 3.0, atol=0.01)


def test_what_the_lower_rate_cannot_carry_is_gone_and_not_folded_down(tmp_path):
    """40 Hz at 200 Hz would look like 10 Hz at 50 Hz, if every fourth sample were taken."""
    times = np.arange(2000) / 200
    columns = {"acc_x": wave(times, 40), "gyro_x": wave(times, 1)}
    recording = read(write(tmp_path / "a.csv", columns), 200)
    assert np.abs(recording.signal[50:-50, 0]).max() < 0.01


def test_uneven_times_are_made_even(tmp_path):
    generator = np.random.default_rng(0)
    times = np.arange(500) / RATE + generator.uniform(-0.004, 0.004, 500)
    recording = read(
        write(tmp_path / "a.csv", {"t": times, "acc_x": wave(times, 1), "gyro_x": times})
    )
    even = recording.start + np.arange(len(recording.signal)) / RATE
    np.testing.assert_allclose(recording.signal[5:-5, 0], wave(even, 1)[5:-5], atol=0.05)


def test_samples_that_are_missing_now_and_then_are_filled_in(tmp_path):
    """Four in a hundred: on average there are 48 a second, but they were taken at 50."""
    times = np.delete(np.arange(500) / RATE, np.arange(10, 490, 25))
    columns = {"time": times, "acc_x": wave(times, 1), "gyro_x": times}
    recording = read(write(tmp_path / "a.csv", columns))
    assert (recording.rate, len(recording.signal)) == (pytest.approx(RATE), 500)
    np.testing.assert_allclose(recording.signal[:, 0], wave(np.arange(500) / RATE, 1), atol=0.01)


def test_a_comma_at_the_end_of_each_line_moves_no_value_to_another_column(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("acc_x,gyro_x,label\n" + "1,2,7,\n" * 9)
    np.testing.assert_array_equal(read(file, RATE).signal, [[1, 2]] * 9)
    file.write_text("acc_x,gyro_x\n" + "7,1,2\n" * 9)
    with pytest.raises(DataError, match="more values than its header has names"):
        read(file, RATE)


def test_of_two_columns_the_one_in_the_channels_unit_is_taken(tmp_path):
    columns = {"acc_x [g]": GOOD, "acc_x [m/s^2]": 9.81 * GOOD, "gyro_x": GOOD}
    times = {"time [ms]": 1000 * GOOD, "seconds": GOOD}
    recording = read(write(tmp_path / "a.csv", columns | times))
    np.testing.assert_allclose(recording.signal[:, 0], GOOD, rtol=1e-6)
    assert recording.rate == pytest.approx(RATE)


def test_a_channels_name_may_hold_brackets(tmp_path):
    columns = {"tAcc-mean()-X": GOOD, "tAcc-std() [g]": GOOD}
    channels = [Channel("tAcc-mean()-X", "g"), Channel("tAcc-std()", "g")]
    recording = read_csv(write(tmp_path / "a.csv", columns), channels, RATE, RATE)
    np.testing.assert_allclose(recording.signal[:, 1], GOOD, rtol=1e-6)


GOOD = np.arange(200) / RATE


@pytest.mark.parametrize(
    ("columns", "rate", "told"),
    [
        ({"time": GOOD, "acc_x": GOOD}, None, "no column gyro_x [rad/s]"),
        ({"acc_x": GOOD, "gyro_x": GOOD}, None, "give --rate"),
        ({"acc_x [m/s^2]": GOOD, "gyro_x": GOOD}, 50, "acc_x is in m/s^2, and the model takes g"),
        ({"acc_x": GOOD, "gyro_x": GOOD}, 20, "20 samples a second, and the model needs 50"),
        ({"acc_x": GOOD, "gyro_x": GOOD}, -1, "above 0"),
        ({"acc_x": GOOD, "gyro_x": GOOD}, 1e8, "a rate of 1e+08 Hz; it must be above 0, and below"),
        (
            {"time [min]": GOOD, "acc_x": GOOD, "gyro_x": GOOD},
            None,
            "no time in s, only time [min]",
        ),
        ({"time": GOOD * 4, "acc_x": GOOD, "gyro_x": GOOD}, None, "12.5 samples a second"),
        ({"time": GOOD[::-1], "acc_x": GOOD, "gyro_x": GOOD}, None, "line 3: time does not"),
        ({"time": GOOD + (GOOD > 2), "acc_x": GOOD, "gyro_x": GOOD}, None, "no samples for 1.02 s"),
        ({"acc_x": GOOD, "gyro_x": np.where(GOOD == 1, np.nan, GOOD)}, 50, "line 52: gyro_x"),
        ({"time": GOOD[:1], "acc_x": GOOD[:1], "gyro_x": GOOD[:1]}, None, "one sample only"),
        ({"acc_x": GOOD[:0], "gyro_x": GOOD[:0]}, 50, "holds no samples"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, columns, rate, told):
    file = write(tmp_path / "a.csv", columns)
    with pytest.raises(DataError) as raised:
        read(file, rate)
    assert told in str(raised.value)
    assert str(file) in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x01", b'a,"b\n1,2\n', b"1;2;3\n4;5;6\n"])
def test_what_is_no_table_is_told(tmp_path, content):
    file = tmp_path / "a.csv"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.csv"):
        read(file, 50)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        read(tmp_path / "gone.csv")
