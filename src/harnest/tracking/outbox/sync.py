"""Sends what an MLflow store missed while it was away, from the directories of runs."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from harnest.core.errors import TrackingError
from harnest.core.silence_libraries import silence_libraries
from harnest.tracking.figure_worker import draw_pending, pending_below
from harnest.tracking.outbox.operations import end, files, values
from harnest.tracking.outbox.runlog import RunLogBusyError, StoreUnavailableError, run_logs_below
from harnest.tracking.store import open_store


def sync(directory: Path, address: str | None, say: Callable[[str], None] = print) -> None:
    """Send every run log in ``directory`` to the store at ``address``; None: to its own.

    A run of its own whose process died before its end is ended; a study ends its trials itself.
    Figures that a study had no time to have drawn are drawn. ``say`` is called with a line for each
    run that had something to send.

    Raises:
        TrackingError: There is no run log; or, once all others have been sent, a store cannot be
            used.
    """
    silence_libraries()
    journals = run_logs_below(directory)
    if not journals:
        raise TrackingError(f"{directory}: there is no record of a run in it")
    for run_log in journals:
        if run_log.is_abandoned():
            say(f"{run_log.directory}: its process died")
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
            say(f"{run_log.directory}: {run_log.send(client)} writes sent")
        except RunLogBusyError as error:
            say(str(error))
        except StoreUnavailableError as error:
            troubles.append(TrackingError(f"{run_log.directory}: {error}"))
    say(f"{len(journals)} records, {len(behind)} of them had something to send")
    for trouble in troubles[:-1]:
        say(str(trouble))
    if troubles:
        raise troubles[-1]
