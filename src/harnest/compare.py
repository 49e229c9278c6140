"""Entry: from recorded studies and runs to a leaderboard."""

import argparse
import csv
import sys
from collections.abc import Sequence

from harnest.cli import add_store_option, errors_as_lines


def main() -> None:
    """``harnest-compare``."""
    parser = argparse.ArgumentParser(
        prog="harnest-compare",
        description="Rank the trials of one study, or the best of several studies and runs.",
        epilog="examples: harnest-compare quick | harnest-compare multirun/quick --format markdown",
    )
    parser.add_argument(
        "names", nargs="*", metavar="STUDY_OR_RUN", help="name, id or directory; none: all"
    )
    parser.add_argument("--format", choices=("table", "markdown", "csv"), default="table")
    parser.add_argument(
        "--experiment", default="harnest", help="MLflow's name of the group of runs"
    )
    add_store_option(parser)
    parser.add_argument("-v", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_args()
    with errors_as_lines():
        from harnest.tracking.leaderboard import leaderboard

        rows = leaderboard(arguments.tracking_uri, arguments.experiment, arguments.names)
        keys = list(dict.fromkeys(key for row in rows for key in row.params))
        heads = ["run", "state", "score", "epochs", "seconds", *keys, "run id"]
        lines = [
            [
                row.name,
                row.state,
                _number(row.score, 4),
                _number(row.steps, 0),
                _number(row.seconds, 1),
                *(row.params.get(key, "") for key in keys),
                row.run_id,
            ]
            for row in rows
        ]
        {"table": _table, "markdown": _markdown, "csv": _csv}[arguments.format](heads, lines)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    from rich.table import Table

    from harnest.wide import print_wide

    table = Table(*heads, box=None, pad_edge=False, header_style="bold")
    for line in lines:
        table.add_row(*line)
    print_wide(table)


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
