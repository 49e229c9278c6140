"""Preloaded by the fork server only: reports errors of its imports."""

import gc
import os
import signal
import sys
from types import TracebackType

# Ctrl-C reaches this process too, and nobody needs it then: without a traceback of what it was
# importing. It was started with the signal held back until now.
signal.signal(signal.SIGINT, lambda *_: os._exit(1))
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

from hydra.core.plugins import Plugins  # noqa: E402


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # A spare process that is still being made when its pool closes does not find the pool's locks
    # any more. Nobody waits for it, and its traceback would be the last that a study shows.
    if not (isinstance(error, FileNotFoundError) and error.filename is None):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _end
gc.disable()  # what is imported for all jobs stays; each job looks for its own garbage again
Plugins.instance()  # Hydra looks for its plugins, and imports them, once for all jobs
