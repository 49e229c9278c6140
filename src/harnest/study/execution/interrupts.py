"""Deferral of SIGINT and SIGTERM to points where work can stop safely."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Defers signals until `allowed`; a second one raises KeyboardInterrupt at once."""

    def __init__(self) -> None:
        #: How many signals are deferred.
        self.pending = 0
        self._allowed = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Defer signals inside the context, and restore the previous handlers after it."""
        if threading.current_thread() is not threading.main_thread():
            yield  # Python handles signals in the main thread only
            return
        before: dict[signal.Signals, Any] = {one: signal.getsignal(one) for one in _SIGNALS}
        for one in _SIGNALS:
            # A shell's background job is started to ignore Ctrl-C; it keeps ignoring it.
            if before[one] is not signal.SIG_IGN:
                signal.signal(one, self._hear)
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Raise KeyboardInterrupt for a signal inside the context, or for a deferred one.

        If code inside suppresses the exception, as some libraries do while they are imported, the
        signal stays deferred until the next call.
        """
        self._allowed = True
        try:
            if self.pending:
                raise KeyboardInterrupt
            yield
        except BaseException:
            self.pending = 0
            raise
        finally:
            self._allowed = False

    def _hear(self, signum: int, frame: FrameType | None) -> None:
        self.pending += 1
        if self._allowed or self.pending > 1:
            raise KeyboardInterrupt
