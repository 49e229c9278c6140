"""``harnest-sync``: upload the run logs that a store did not receive."""

import argparse
from pathlib import Path

from harnest.cli.app import add_version_option, errors_as_lines


def main() -> None:
    """``harnest-sync``."""
    parser = argparse.ArgumentParser(
        prog="harnest-sync",
        description="Upload what an MLflow store did not receive: of a run, of a study "
        "with all its trials, or of every run in a folder. What has arrived is not sent again. A "
        "run of its own whose process was killed is ended as failed.",
        epilog="examples: harnest-sync multirun/quick | "
        "harnest-sync outputs/2026-01-31/12-00-00-123456",
    )
    parser.add_argument("directory", type=Path, help="where the runs or the study wrote")
    parser.add_argument(
        "--tracking-uri",
        metavar="URI",
        help="the MLflow store (default: the one that each run was recorded in)",
    )
    parser.add_argument("-v", action="store_true", help="show the traceback of an error")
    add_version_option(parser)
    arguments = parser.parse_args()
    with errors_as_lines():
        from harnest.tracking.outbox.sync import sync

        sync(arguments.directory, arguments.tracking_uri)


if __name__ == "__main__":
    main()
