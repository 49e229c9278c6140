"""Preloaded by the fork server only: reports errors of its imports."""

import gc
import os
import signal
import sys
from types import TracebackType

# Ctrl-C also reaches the fork server, which then exits without a traceback of its imports. The
# signal was blocked until now.
signal.signal(signal.SIGINT, lambda *_: os._exit(1))
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

from hydra.core.plugins import Plugins  # noqa: E402


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # A spare process that starts while its pool closes finds no locks of the pool. Its traceback
    # would be the last output of the study.
    if not (isinstance(error, FileNotFoundError) and error.filename is None):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _end
gc.disable()  # what is imported for all jobs stays; each job looks for its own garbage again
Plugins.instance()  # Hydra looks for its plugins, and imports them, once for all jobs
