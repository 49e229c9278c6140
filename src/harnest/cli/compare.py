"""``harnest-compare``: rank recorded studies and runs."""

import argparse
import csv
import gc
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from harnest.cli.app import (
    add_experiment_option,
    add_store_option,
    add_version_option,
    errors_as_lines,
)
from harnest.core.terminal_width import GAP, available_width, dropped_columns, fit_columns, truncate

if TYPE_CHECKING:
    from harnest.reporting.rows import LeaderboardRow
    from harnest.tracking.leaderboard import Leaderboard

_SHORT_ID = 8  # digits of a run's id that a reader gets; commands take the beginning of an id


def main() -> None:
    """``harnest-compare``."""
    parser = argparse.ArgumentParser(
        prog="harnest-compare",
        description="Rank the trials of one study, or the best of several studies and runs, with "
        "the parameters that differ. What differs in its seed alone is one row: mean, deviation "
        "and number of seeds.",
        epilog="examples: harnest-compare quick | harnest-compare multirun/quick --format markdown "
        "| harnest-compare quick --format html > report.html",
    )
    parser.add_argument(
        "names", nargs="*", metavar="STUDY_OR_RUN", help="name, id or directory; none: all"
    )
    parser.add_argument(
        "--format",
        choices=("table", "markdown", "csv", "html"),
        default="table",
        help="html is the study's report, one page with its figures (default: table)",
    )
    add_experiment_option(parser)
    add_store_option(parser)
    parser.add_argument("-v", action="store_true", help="show the traceback of an error")
    add_version_option(parser)
    arguments = parser.parse_args()
    gc.disable()  # a short program: to look for garbage among what it imports takes half a second
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as every other program before `| head`
    with errors_as_lines():
        from harnest.tracking.leaderboard import leaderboard

        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        board = leaderboard(arguments.tracking_uri, arguments.experiment, arguments.names)
        if arguments.format == "html":
            print(_html(board))
            return
        from harnest.reporting.report import as_table

        # A file gets every digit, a reader as many as can be read.
        is_exact = arguments.format == "csv"
        rows = board.rows if is_exact else list(map(_rounded, board.rows))
        show = {"table": _table, "markdown": _markdown, "csv": _csv}[arguments.format]
        show(*as_table(rows, board.scores, is_exact))


def _rounded(row: "LeaderboardRow") -> "LeaderboardRow":
    return replace(row, params={key: _short(text) for key, text in row.params.items()})


def _short(text: str) -> str:
    """Fewer digits of a fraction; whole numbers count things, and much else only looks like one."""
    try:
        number = float(text)
    except ValueError:
        return text
    is_fraction = repr(number) == text and not number.is_integer()
    return f"{number:.4g}" if is_fraction and len(text) > 6 else text


def _html(board: "Leaderboard") -> str:
    """The report that the study wrote at its end, or a page with the table alone."""
    from harnest.reporting.report import Report, outcome_counts, page

    written = board.report()
    if written is not None:
        return written
    return page(Report(board.title, outcome_counts(board.rows), board.scores, board.rows), [])


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print as many columns as the terminal has room for, and short ids; all to a file."""
    width = available_width()
    if width is not None:
        lines = [[*line[:-1], line[-1][:_SHORT_ID]] for line in lines]
    facts = [at for at, head in enumerate(heads) if head in ("epochs", "seconds")]
    last = len(heads) - 1
    others = [at for at in range(last) if at not in facts]
    columns = fit_columns(heads, lines, [*others, last, *facts], width)
    # By hand: rich takes a second for a thousand rows.
    for line in (heads, *lines):
        cells = (truncate(line[at], size).ljust(size) for at, size in columns.items())
        print((" " * GAP).join(cells).rstrip())
    missing = dropped_columns(heads, columns)
    if missing:
        print(f"\n{missing}; --format csv has all")


def _markdown(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    print("| " + " | ".join(heads) + " |")
    print("|" + " --- |" * len(heads))
    for line in lines:
        print("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |")


def _csv(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(heads)
    writer.writerows(lines)


if __name__ == "__main__":
    main()
