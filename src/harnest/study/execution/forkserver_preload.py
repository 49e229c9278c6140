"""Preload module of the fork server; only the fork server imports it."""

import gc
import os
import signal
import sys
from types import TracebackType

# Ctrl-C also reaches the fork server: exit without a traceback of its current import. The process
# starts with SIGINT blocked, see start_fork_server.
signal.signal(signal.SIGINT, lambda *_: os._exit(1))
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

from hydra.core.plugins import Plugins  # noqa: E402


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # A spare process that is still starting when its pool closes does not find the pool's locks.
    # This is harmless, but its traceback would be the last output of the study.
    if not (isinstance(error, FileNotFoundError) and error.filename is None):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _end
gc.disable()  # modules that all jobs share stay in memory; each job enables it again
Plugins.instance()  # finds and imports Hydra's plugins once for all jobs
