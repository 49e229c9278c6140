"""Sends the unsent writes of run logs to their MLflow store."""

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
    """Send every run log in ``directory``.

    A standalone run whose process died before its end is ended as FAILED; a study ends the runs
    of its trials itself. Pending figures are rendered.

    Args:
        directory: Folder of a run or a study, or any folder above them.
        address: Address of the store to send to; None for each run log's own.
        say: Called with one line for each run log that had unsent writes, and a summary.

    Raises:
        TrackingError: There is no run log, or, once all others have been sent, a store cannot be
            used.
    """
    silence_libraries()
    journals = run_logs_below(directory)
    if not journals:
        raise TrackingError(f"{directory}: there is no run log in it")
    for run_log in journals:
        if run_log.is_abandoned():
            say(f"{run_log.directory}: its process died")
            run_log.add(values(tags={"reason": "killed", "message": "its process died"}))
            run_log.add(files(sorted(log.name for log in run_log.directory.glob("*.log")), None))
            run_log.add(end("FAILED"))
    for one in pending_below(directory):
        with suppress(FileNotFoundError):  # its study is running and has just rendered it
            draw_pending(one)
    # By file size, which does not fail for a run that was removed while figures were rendered.
    behind = [run_log for run_log in journals if run_log.is_behind()]
    troubles: list[TrackingError] = []
    closed: set[str] = set()  # unusable stores, which are not tried again for every run log
    for run_log in behind:
        store = address or run_log.address
        if store in closed:
            continue
        try:
            if "***" in store:
                raise TrackingError(
                    f"{run_log.directory}: its store's password was not saved; give the full "
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
    say(f"{len(journals)} run logs, {len(behind)} of them had unsent writes")
    for trouble in troubles[:-1]:
        say(str(trouble))
    if troubles:
        raise troubles[-1]
