"""Fits tables to the width of the terminal; files and pipes get every column."""

import re
import shutil
import sys
from collections.abc import Sequence

GAP = 2  # characters between two columns

_LEAST = 8  # characters that a column of words may shrink to
_LEAST_OF_FIRST = 16  # and the first one, which names the row

_NUMBER = re.compile(r"[-+]?[.\d]|inf|nan|$")


def available_width() -> int | None:
    """How many characters a line of standard output takes; None where it takes any number."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def fit_columns(
    heads: Sequence[str],
    lines: Sequence[Sequence[str]],
    importance: Sequence[int],
    width: int | None,
) -> dict[int, int]:
    """Select the columns of a table that fit into ``width``.

    Args:
        heads: Column headings.
        lines: Cells of each row.
        importance: Indices of all columns, the most important first. The first one is always shown.
        width: Characters in a line; None: no limit.

    Returns:
        The indices of the shown columns, in their order, each with its width. Headings and words
        may be truncated, numbers never.
    """
    cells = [[line[at] for line in lines] for at in range(len(heads))]
    longest = [max(map(len, column), default=0) for column in cells]
    full = [max(len(head), size) for head, size in zip(heads, longest, strict=True)]
    if width is None or sum(full) + GAP * (len(full) - 1) <= width:
        return dict(enumerate(full))
    chosen: dict[int, int] = {}
    spare = width + GAP
    for place, at in enumerate(importance):
        is_number = all(_NUMBER.match(cell) for cell in cells[at])
        least = _LEAST if place else _LEAST_OF_FIRST
        needed = max(
            longest[at] if is_number else min(longest[at], least), min(len(heads[at]), _LEAST)
        )
        if not place or needed + GAP <= spare:
            chosen[at] = needed
            spare -= needed + GAP
    for at in chosen:  # what is left goes to the most important first
        more = max(0, min(full[at] - chosen[at], spare))
        chosen[at] += more
        spare -= more
    return dict(sorted(chosen.items()))


def truncate(text: str, width: int) -> str:
    """``text``, with an ellipsis for what ``width`` has no room for."""
    return text if len(text) <= width else text[: width - 1] + "…"


def dropped_columns(heads: Sequence[str], shown: dict[int, int]) -> str:
    """A line that names the columns that did not fit; empty if all did."""
    missing = [head for at, head in enumerate(heads) if at not in shown]
    return f"no room for {', '.join(missing)}" if missing else ""
