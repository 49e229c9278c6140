"""Setup of a job in a process that a third-party launcher manages."""

import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import TaskFunction
from omegaconf import DictConfig

from harnest.core.errors import StudyError
from harnest.core.failure import TrialInterruptedError
from harnest.study.execution.slot import mark_ended, mark_running


class ManagedTask:
    """An application's task for a third-party launcher, set up like the process of a slot.

    Output goes to ``output.log`` in the job's directory, which also holds the process ID. A signal
    raises an `Exception`, because these launchers hang or break when KeyboardInterrupt ends a
    process. The process may run other jobs later, so everything is restored afterwards.

    Args:
        task: The application's task function.
        ends: Errors to raise by signal number, in addition to `TrialInterruptedError` for SIGINT.
    """

    def __init__(
        self, task: TaskFunction, ends: Mapping[int, type[StudyError]] | None = None
    ) -> None:
        self.task = task
        self.ends: dict[int, type[StudyError]] = {signal.SIGINT: TrialInterruptedError}
        self.ends |= ends or {}

    def __call__(self, cfg: DictConfig) -> Any:
        """Run the task; raises the error that belongs to a received signal."""
        directory = Path(HydraConfig.get().runtime.output_dir)
        try:
            with _interruptible(self.ends) as received, output_restored():
                mark_running(directory)  # once a signal can no longer end the whole process
                try:
                    redirect_output(directory / "output.log")
                    return with_environment_restored(self.task)(cfg)
                finally:
                    mark_ended(directory)
        except KeyboardInterrupt as interrupt:
            first = (received or [signal.SIGINT])[0]
            told = f"the trial was asked to stop by {signal.Signals(first).name}"
            raise self.ends[first](told) from interrupt
        except Exception:
            raise
        except BaseException as end:
            raise as_picklable_error(end) from end


def with_environment_restored(task: TaskFunction) -> TaskFunction:
    """Wrap ``task`` to restore environment variables of ``hydra.job.env_set`` that it deletes.

    Hydra deletes them after the job. If one is missing then, it raises an error, and the job's
    return is lost.
    """

    @wraps(task)
    def kept(cfg: DictConfig) -> Any:
        names = HydraConfig.get().job.env_set
        before = {str(name): os.environ[name] for name in names if name in os.environ}
        try:
            return task(cfg)
        finally:
            for name, text in before.items():
                os.environ.setdefault(name, text)

    return kept


def as_picklable_error(error: BaseException) -> Exception:
    """Return ``error`` if it is an `Exception`, else a new `StudyError` that describes it.

    A SystemExit would end the process, which may run other jobs. The new error holds no reference
    to it: Hydra has attached the job's return to it, and pickling the cycle would not end.
    """
    if isinstance(error, Exception):
        return error
    return StudyError(f"the trial ended itself: {error!r}")


@contextmanager
def _interruptible(by: Iterable[int]) -> Iterator[list[int]]:
    """Raise KeyboardInterrupt on these signals, even if the process ignores or blocks them.

    Ray blocks them. Yields the list of received signals.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # Python handles signals in the main thread only
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    handlers = {number: signal.signal(number, interrupt) for number in by}
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, handlers)
    try:
        yield received
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def output_restored() -> Iterator[None]:
    """Restore the file descriptors of stdout and stderr at the end of the context."""
    before = [os.dup(number) for number in (1, 2)]
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, output in enumerate(before, start=1):
            os.dup2(output, number)
            os.close(output)


def redirect_output(file: Path) -> None:
    """Append stdout and stderr of this process to ``file``, including output of C libraries."""
    with file.open("ab") as opened:
        os.dup2(opened.fileno(), 1)
        os.dup2(opened.fileno(), 2)
