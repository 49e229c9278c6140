"""Uploads run logs to a store in a background thread, so that callers never wait for a server."""

import threading
import time
from dataclasses import dataclass

from harnest.tracking.outbox.operations import Write
from harnest.tracking.outbox.runlog import RunLog, RunLogBusyError, StoreUnavailableError
from harnest.tracking.store import connect

_PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds between retries; the last value repeats
_BUSY = 0.2  # seconds until a retry of a run log that another process is sending
_ROUND = 1.0  # seconds in which writes accumulate, to be sent in fewer requests


class Uploader:
    """Sends queued run logs, each in order, and retries while the store does not answer.

    Besides queued run logs it sends watched ones, to which other processes write. It sends
    in rounds rather than immediately, so that it does not compete with its caller for CPU time.

    Args:
        address: Address of the MLflow store.
        flush_timeout: How long `finish` waits for the store, in seconds.
        rounds: Seconds between rounds. While a caller waits, the next round starts immediately.
    """

    def __init__(self, address: str, flush_timeout: float, rounds: float = _ROUND) -> None:
        self.address = address
        self.flush_timeout = flush_timeout
        self.rounds = rounds
        #: Why the last attempt failed; None if it did not.
        self.trouble: str | None = None
        self._changed = threading.Condition()
        self._handed: dict[RunLog, None] = {}
        self._watched: dict[RunLog, None] = {}
        self._waiting: dict[RunLog, None] = {}
        self._at: RunLog | None = None
        self._due = 0.0  # monotonic time of the next round
        self._hurries = 0  # number of callers in `wait`
        self._closed = False
        self._thread: threading.Thread | None = None

    def enqueue(self, run_log: RunLog) -> None:
        """Queue the unsent writes of ``run_log`` for upload; returns immediately."""
        with self._changed:
            if not self._handed:
                self._due = time.monotonic() + self.rounds
            self._handed[run_log] = None
            self._start()

    def watch(self, run_log: RunLog) -> None:
        """Upload whatever another process adds to ``run_log``, until `unwatch`."""
        with self._changed:
            self._watched[run_log] = None
            self._start()

    def unwatch(self, run_log: RunLog) -> None:
        """Stop watching ``run_log``."""
        with self._changed:
            self._watched.pop(run_log, None)

    def wait(self, seconds: float, *, unless_away: bool = False) -> bool:
        """Wait until all queued writes are sent; returns whether they are.

        Args:
            seconds: Timeout in seconds.
            unless_away: Return at once if the store does not answer.
        """

        def is_over() -> bool:
            return self._is_idle() or (unless_away and self.trouble is not None)

        with self._changed:
            self._hurries += 1
            self._changed.notify_all()
            self._changed.wait_for(is_over, seconds)
            self._hurries -= 1
            return self._is_idle()

    def finish(self, *, unless_away: bool = False) -> bool:
        """Flush and stop; returns whether all queued writes were sent within ``flush_timeout``."""
        is_sent = self.wait(self.flush_timeout, unless_away=unless_away)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        return is_sent

    def _start(self) -> None:
        self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="courier", daemon=True)
            self._thread.start()

    def _is_idle(self) -> bool:
        return not self._handed and not self._waiting and self._at is None

    def _rest(self) -> None:
        """Block until a due round has something to send, or until the uploader is closed."""
        while not (self._waiting or self._closed):
            left = self._due - time.monotonic()
            if left <= 0 or (self._handed and self._hurries):
                behind = {run_log: None for run_log in self._watched if run_log.is_behind()}
                self._waiting = self._handed | behind
                self._handed = {}
                self._due = time.monotonic() + self.rounds
            else:
                self._changed.wait(left if self._handed or self._watched else None)

    def _work(self) -> None:
        failures = 0
        while True:
            with self._changed:
                self._rest()
                if self._closed:
                    return
                self._at = next(iter(self._waiting))
                del self._waiting[self._at]
                run_log = self._at
            trouble, pause = None, 0.0
            try:
                run_log.send(connect(self.address))
            except RunLogBusyError:
                pause = _BUSY
            except (StoreUnavailableError, OSError) as error:
                trouble = str(error)
                pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
            failures = failures + 1 if trouble is not None else 0
            with self._changed:
                self._at = None
                self.trouble = trouble
                if pause > 0:
                    self._waiting.setdefault(run_log)
                self._changed.notify_all()
                if pause > 0:
                    self._changed.wait_for(lambda: self._closed, pause)


@dataclass(frozen=True)
class WriteQueue:
    """Takes a run's writes: stores them in the run log, then queues the run log for upload.

    Without an uploader another process, which watches the run log, sends it.
    """

    run_log: RunLog
    uploader: Uploader | None

    def add(self, write: Write) -> None:
        """Append a write to the run log and queue it; it is in the file when this returns."""
        self.run_log.add(write)
        if self.uploader is not None:
            self.uploader.enqueue(self.run_log)
