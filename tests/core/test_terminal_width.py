"""Tables in terminals that have no room for all of them."""

import pytest

from harnest.core.terminal_width import GAP, dropped_columns, fit_columns, truncate

HEADS = ["run", "state", "score", "hidden_size", "optimizer.lr", "epochs"]
LINES = [["trial-3", "FINISHED", "0.7676", "64", "0.001", "8"]]
ORDER = [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("width", [20, 40, 60, 80])
def test_what_is_shown_has_room_and_numbers_are_whole(width):
    columns = fit_columns(HEADS, LINES, ORDER, width)
    assert sum(columns.values()) + GAP * (len(columns) - 1) <= width
    assert list(columns) == sorted(columns)
    assert 0 in columns
    for at in set(columns) - {0, 1}:
        assert truncate(LINES[0][at], columns[at]) == LINES[0][at]


def test_the_least_important_column_goes_first():
    order = [0, 2, 1, 4, 3, 5]
    columns = fit_columns(HEADS, LINES, order, 30)
    assert set(columns) == {0, 1, 2}
    assert dropped_columns(HEADS, columns) == "no room for hidden_size, optimizer.lr, epochs"


def test_a_file_has_room_for_all():
    columns = fit_columns(HEADS, LINES, ORDER, None)
    assert list(columns) == ORDER
    assert dropped_columns(HEADS, columns) == ""
