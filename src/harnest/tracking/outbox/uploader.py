"""Sends journals to a store from a thread of its own, so that nobody waits for a server."""

import threading
import time
from dataclasses import dataclass

from harnest.tracking.outbox.operations import Write
from harnest.tracking.outbox.runlog import RunLog, RunLogBusyError, StoreUnavailableError
from harnest.tracking.store import connect

_PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds until the next try; the last one from then on
_BUSY = 0.2  # seconds until a journal that another process is sending is looked at again
_ROUND = 1.0  # seconds in which more may come, that is then sent in fewer requests


class Uploader:
    """Sends what is handed to it, in order for each run, and tries again while a store is away.

    It goes out every ``rounds`` seconds, or at once where somebody waits: whoever hands it
    something has better things to do at that moment. Journals that other processes write to can be
    watched. ``flush_timeout`` is how long `finish` waits for a store, in seconds.
    """

    def __init__(self, address: str, flush_timeout: float, rounds: float = _ROUND) -> None:
        self.address = address
        self.flush_timeout = flush_timeout
        self.rounds = rounds
        #: Why the last try failed, where it did.
        self.trouble: str | None = None
        self._changed = threading.Condition()
        self._handed: dict[RunLog, None] = {}
        self._watched: dict[RunLog, None] = {}
        self._waiting: dict[RunLog, None] = {}
        self._at: RunLog | None = None
        self._due = 0.0  # when it goes out again
        self._hurries = 0  # who waits for it
        self._closed = False
        self._thread: threading.Thread | None = None

    def enqueue(self, run_log: RunLog) -> None:
        """Have what is new in ``journal`` sent; returns at once."""
        with self._changed:
            if not self._handed:
                self._due = time.monotonic() + self.rounds
            self._handed[run_log] = None
            self._start()

    def watch(self, run_log: RunLog) -> None:
        """Have what another process adds to ``journal`` sent, until it is left."""
        with self._changed:
            self._watched[run_log] = None
            self._start()

    def unwatch(self, run_log: RunLog) -> None:
        """Watch ``journal`` no longer."""
        with self._changed:
            self._watched.pop(run_log, None)

    def wait(self, seconds: float, *, unless_away: bool = False) -> bool:
        """Wait until all has been sent, at most so long; returns whether it has.

        With ``unless_away`` not for a store that does not answer.
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
        """Wait for the rest, up to ``flush_timeout``, then stop; returns whether all was sent."""
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
        """Return when it is time to go out again, with something to send, or never again."""
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
    """Where a run's writes go: into its journal first, and then to whoever sends them.

    Without a courier that is another process, which watches the journal.
    """

    run_log: RunLog
    uploader: Uploader | None

    def add(self, write: Write) -> None:
        """Keep a write and have it sent; it is in the journal when this returns."""
        self.run_log.add(write)
        if self.uploader is not None:
            self.uploader.enqueue(self.run_log)
