import numpy as np
import pytest

from harnest.core.errors import DataError
from harnest.har.data.tables import parse


@pytest.mark.parametrize(
    "text",
    [
        b"1 2.5\n-3e-002 4\n",
        b"1 2.5\n-3e-002 4",
        b"  1   2.5 \n -3e-002  4  \n",
        b"1 2.5\r\n-3e-002 4\r\n",
        b"\n1 2.5\n\n-3e-002 4\n\n",
    ],
)
def test_blanks_of_any_number_part_the_columns(text):
    expected = np.array([[1, 2.5], [-0.03, 4]], np.float32)
    np.testing.assert_array_equal(parse(text, 2, np.float32, "it"), expected)


def test_numbers_are_rounded_as_numpy_rounds_them():
    values = np.random.default_rng(0).normal(size=(500, 3)).tolist()
    text = "\n".join(" ".join(map(repr, row)) for row in values).encode()
    np.testing.assert_array_equal(parse(text, 3, np.float32, "it"), np.float32(values))


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        (b"", np.float32),
        (b"1 2\n3\n", np.float32),
        (b"1 2 3\n", np.float32),
        (b"1 two\n", np.float32),
        (b"<html>\n<body>\n", np.float32),
        (b"\x00\xff\xfe \x01\n", np.float32),
        (b"1 2.5\n", np.int64),
        (b"1 99999999999999999999\n", np.int64),
    ],
)
def test_what_is_no_such_table_is_refused_in_one_line(text, dtype):
    with pytest.raises(DataError, match="it is not a table of 2 columns of numbers") as caught:
        parse(text, 2, dtype, "it")
    assert "\n" not in str(caught.value)
