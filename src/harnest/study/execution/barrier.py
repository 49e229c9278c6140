"""Cooperative scheduling for jobs that share a process and synchronize at barriers."""

import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from harnest.core.failure import TrialInterruptedError
from harnest.study.execution.interrupts import Interrupts
from harnest.study.execution.managed_task import output_restored, redirect_output

_current = threading.local()


def is_packed() -> bool:
    """Return whether this job shares its process with others and must call `synchronize`."""
    return hasattr(_current, "job")


def synchronize(part: Any, together: Callable[[Sequence[Any]], None]) -> None:
    """Wait at a barrier for all running jobs of this process, then call ``together`` once.

    Args:
        part: What this job contributes.
        together: Called once, with the ``part`` of each job.

    Raises:
        TrialInterruptedError: The process was interrupted.
        Exception: Whatever ``together`` raises is raised in each job.
    """
    job: CooperativeJob = _current.job
    job.wait(part, together)


@dataclass
class _ProcessState:
    """Snapshot of the process-wide state that is switched between jobs."""

    config: Any
    folder: str
    environment: dict[str, str]
    handlers: list[logging.Handler]

    @classmethod
    def now(cls) -> "_ProcessState":
        handlers = list(logging.getLogger().handlers)
        return cls(HydraConfig.instance().cfg, os.getcwd(), dict(os.environ), handlers)  # noqa: PTH109  a path would have to be made text again

    def enter(self) -> None:
        HydraConfig.instance().cfg = self.config
        os.chdir(self.folder)
        # Not cleared and refilled: other threads may be reading the environment.
        for name in os.environ.keys() - self.environment.keys():
            del os.environ[name]
        for name, text in self.environment.items():
            if os.environ.get(name) != text:
                os.environ[name] = text
        logging.getLogger().handlers[:] = self.handlers


class CooperativeJob:
    """A job in its own thread that runs only between `resume` and the next barrier.

    Args:
        job: The function to run.
        output: File that receives the job's stdout and stderr.
    """

    def __init__(self, job: Callable[[], None], output: Path) -> None:
        self.job = job
        self.output = output
        #: The arguments of the `synchronize` call that the job waits in; None if it has ended.
        self.waits_for: tuple[Any, Callable[[Sequence[Any]], None]] | None = None
        self._state = _ProcessState.now()
        self._error: BaseException | None = None
        self._go, self._is_back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def resume(self, error: BaseException | None = None) -> None:
        """Run the job until its next barrier or its end; ``error`` is raised in it if given."""
        self._error = error
        self._state.enter()
        sys.stdout.flush()
        sys.stderr.flush()
        redirect_output(self.output)
        if self._thread.ident is None:
            self._thread.start()
        self._go.release()
        self._is_back.acquire()
        self._state = _ProcessState.now()

    def wait(self, part: Any, together: Callable[[Sequence[Any]], None]) -> None:
        """Return control to `resume` until it is called again; runs in the job's thread."""
        self.waits_for = part, together
        self._is_back.release()
        self._go.acquire()
        self.waits_for = None
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        _current.job = self
        self._go.acquire()
        try:
            self.job()
        finally:
            self._is_back.release()


def run_cooperatively(jobs: Sequence[tuple[Callable[[], None], Path]]) -> None:
    """Run jobs in one process, one at a time between calls of `synchronize`.

    The end of a job, including by an error, does not stop the others. An interrupt is raised in
    each job as `TrialInterruptedError` at its next barrier.

    Args:
        jobs: Pairs of a job and the file that receives its output.

    Raises:
        KeyboardInterrupt: A second interrupt arrived before the first one was handled.
    """
    before = _ProcessState.now()
    try:
        with output_restored():
            _run_in_turns([CooperativeJob(job, output) for job, output in jobs])
    finally:
        before.enter()


def _run_in_turns(turns: list[CooperativeJob]) -> None:
    interrupts = Interrupts()
    error: BaseException | None = None
    with interrupts.held():
        while turns:
            trace = None if error is None else error.__traceback__
            for job in turns:
                # All jobs raise the same error: drop the frames that other jobs have added.
                job.resume(error and error.with_traceback(trace))
            turns = [job for job in turns if job.waits_for is not None]
            met = [job.waits_for for job in turns if job.waits_for is not None]
            if not met:
                return
            error = None
            try:
                with interrupts.allowed():
                    met[0][1]([part for part, _ in met])
            except KeyboardInterrupt:
                error = TrialInterruptedError("the trial was asked to stop")
            except Exception as raised:
                error = raised
