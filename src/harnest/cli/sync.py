"""Entry: what a store missed while it was away, sent from the directories of runs and studies."""

import argparse
from contextlib import suppress
from pathlib import Path

from harnest.cli.app import add_version_option, errors_as_lines


def main() -> None:
    """``harnest-sync``."""
    parser = argparse.ArgumentParser(
        prog="harnest-sync",
        description="Send what an MLflow store missed while it was away: of a run, of a study "
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
        sync(arguments.directory, arguments.tracking_uri)


def sync(directory: Path, address: str | None) -> None:
    """Send every journal in ``directory`` to the store at ``address``; None: to its own.

    A run of its own whose process died before its end is ended; a study ends its trials itself.
    Figures that a study had no time to have drawn are drawn.
    Raises `TrackingError` where there is no journal, or, once all others have been sent, a store
    that cannot be used.
    """
    from harnest.core.errors import TrackingError
    from harnest.core.silence_libraries import silence_libraries
    from harnest.tracking.figure_worker import draw_pending, pending_below
    from harnest.tracking.outbox.operations import end, files, values
    from harnest.tracking.outbox.runlog import (
        RunLogBusyError,
        StoreUnavailableError,
        run_logs_below,
    )
    from harnest.tracking.store import open_store

    silence_libraries()
    journals = run_logs_below(directory)
    if not journals:
        raise TrackingError(f"{directory}: there is no record of a run in it")
    for run_log in journals:
        if run_log.is_abandoned():
            print(f"{run_log.directory}: its process died")
            run_log.add(values(tags={"reason": "killed", "message": "its process died"}))
            run_log.add(files(sorted(log.name for log in run_log.directory.glob("*.log")), None))
            run_log.add(end("FAILED"))
    for one in pending_below(directory):
        with suppress(FileNotFoundError):  # its study is at work, and had it drawn
            draw_pending(one)
    # Not by what is in them: to draw takes a while, in which somebody may remove a run.
    behind = [run_log for run_log in journals if run_log.is_behind()]
    troubles: list[TrackingError] = []
    closed: set[str] = set()  # stores that need not be tried for each of their runs
    for run_log in behind:
        store = address or run_log.address
        if store in closed:
            continue
        try:
            if "***" in store:
                raise TrackingError(
                    f"{run_log.directory}: its store's password is not written down; give the "
                    "address with --tracking-uri"
                )
            client = open_store(store)
        except TrackingError as error:
            closed.add(store)
            troubles.append(error)
            continue
        try:
            print(f"{run_log.directory}: {run_log.send(client)} writes sent")
        except RunLogBusyError as error:
            print(error)
        except StoreUnavailableError as error:
            troubles.append(TrackingError(f"{run_log.directory}: {error}"))
    print(f"{len(journals)} records, {len(behind)} of them had something to send")
    for trouble in troubles[:-1]:
        print(trouble)
    if troubles:
        raise troubles[-1]


if __name__ == "__main__":
    main()
