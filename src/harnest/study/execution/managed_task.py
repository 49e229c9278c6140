"""Wraps a task function for processes that another launcher owns."""

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
    """An application's task in a process of another launcher, set up as a slot's process is.

    Its prints go to ``output.log`` in its directory, where its process leaves its number, and
    SIGINT, or another signal of ``ends``, ends it as the error that belongs to it: these launchers
    wait for, or are broken by, a process that KeyboardInterrupt ends. The process may serve other
    jobs later, so all is undone.
    """

    def __init__(
        self, task: TaskFunction, ends: Mapping[int, type[StudyError]] | None = None
    ) -> None:
        self.task = task
        self.ends: dict[int, type[StudyError]] = {signal.SIGINT: TrialInterruptedError}
        self.ends |= ends or {}

    def __call__(self, cfg: DictConfig) -> Any:
        """Run the task."""
        directory = Path(HydraConfig.get().runtime.output_dir)
        try:
            with _interruptible(self.ends) as received, output_restored():
                mark_running(directory)  # not before a signal ends this job alone
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
    """The task, which leaves the variables that Hydra has set for its job as they are.

    Hydra takes them away once the job has ended. Where one is gone already that is an error, for
    which the job's return would be lost.
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
    """The error of a job that raised ``error``: sys.exit would end its process, and others' jobs.

    Hydra hangs the job's return on that one, and to pickle two that hold each other has no end.
    """
    if isinstance(error, Exception):
        return error
    return StudyError(f"the trial ended itself: {error!r}")


@contextmanager
def _interruptible(by: Iterable[int]) -> Iterator[list[int]]:
    """Handle these signals as interrupts, even if the process ignores or blocks them, as ray does.

    Yields the list of signals that were received.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # Python gives signals to the main thread only
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
    """Let what this process prints go afterwards where it goes now."""
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
    """Send what this process prints to ``file``, also what C libraries print."""
    with file.open("ab") as opened:
        os.dup2(opened.fileno(), 1)
        os.dup2(opened.fileno(), 2)
