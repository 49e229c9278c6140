"""An executor that runs each job in a thread, on a `JobBackend`: joblib, submitit, ray."""

import contextvars
import re
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Protocol

from hydra.core.utils import JobReturn

from harnest.core.errors import StudyError
from harnest.core.failure import (
    OUT_OF_MEMORY,
    TrialInterruptedError,
    TrialKilledError,
    TrialMemoryError,
    TrialTimeoutError,
)
from harnest.study.execution.oom import OomKills
from harnest.study.execution.slot import EVERYWHERE, mark_ended, signal_job

#: Errors of these launchers for a job whose process died.
_DEATHS = {"UncompletedJobError", "WorkerCrashedError", "NodeDiedError"}

#: SLURM's states of jobs that ended without a return.
_ENDS: dict[str, type[StudyError]] = {
    "CANCELLED": TrialInterruptedError,
    "PREEMPTED": TrialInterruptedError,
    "NODE_FAIL": TrialInterruptedError,
    "BOOT_FAIL": TrialInterruptedError,
    "TIMEOUT": TrialTimeoutError,
    "DEADLINE": TrialTimeoutError,
    "OUT_OF_MEMORY": TrialMemoryError,
}

_TAKEN_ALONG = "it ended with another trial, whose process died: the launcher ends all then"


class JobBackend(Protocol):
    """Runs single jobs of a launcher; called from several threads."""

    @property
    def capacity(self) -> int:
        """How many jobs can run at once."""

    def run(self, overrides: Sequence[str], number: int, directory: Path) -> JobReturn:
        """Run a job that writes to ``directory``; raises the launcher's error if it dies."""

    def cancel(self, directory: Path, number_of_signal: int) -> None:
        """Signal or cancel a job without a process on this host: pending, or on another host."""


class ThreadedExecutor:
    """Runs each job in a thread that waits for the job's own process.

    No job waits for the slowest of a batch, and each ends separately. If the death of one process
    breaks a pool with several jobs, as in joblib, the culprit is unknown: these jobs are run again
    one at a time.
    """

    def __init__(self, jobs: JobBackend, directory: Path) -> None:
        self.jobs = jobs
        self.directory = directory
        self._running: set[Path] = set()
        self._waiting: set[Path] = set()
        self._lost: set[int] = set()
        self._waits_for_all = False
        self._changed = threading.Condition()
        self._oom_kills = OomKills()

    @property
    def capacity(self) -> int:
        """How many jobs can run at once; of a cluster, at this moment."""
        return self.jobs.capacity

    def submit(
        self,
        overrides: Sequence[str],
        number: int,
        replicate: str = "",
        retry_of: int | None = None,
    ) -> "Future[JobReturn]":
        """Start a job in a new thread; it waits if it, or a job before it, has to run alone.

        Args:
            overrides: The job's overrides, in Hydra's syntax.
            number: Number of the trial, which is also the name of its directory.
            replicate: Name of the replicate, which writes to a subdirectory of this name.
            retry_of: Number of the earlier trial that this one retries. If that one was lost with
                others, the job runs alone.

        Returns:
            A future of the job's return. It raises `TrialKilledError` or `TrialMemoryError` if the
            process died, `TrialTimeoutError` after a time-out, and `TrialInterruptedError` if the
            job was interrupted or ended with others.
        """
        future: Future[JobReturn] = Future()
        future.set_running_or_notify_cancel()
        alone = self.capacity == 1 or retry_of in self._lost
        # A config may only call what it is trusted with, and threads do not inherit that.
        call = contextvars.copy_context().run
        directory = self.directory / str(number) / replicate
        self._waiting.add(directory)
        arguments = (self._launch, overrides, number, directory, alone, future)
        threading.Thread(target=call, args=arguments, daemon=True).start()
        return future

    def interrupt(self, number_of_signal: int, within: Path = EVERYWHERE) -> None:
        """Signal running jobs and cancel queued ones."""
        asked = signal.SIGINT if number_of_signal == signal.SIGTERM else number_of_signal
        with self._changed:
            meant = {
                one for one in self._waiting if one.absolute().is_relative_to(within.absolute())
            }
            self._waiting -= meant
            self._changed.notify_all()
        for directory in list(self._running):
            is_meant = directory.absolute().is_relative_to(within.absolute())
            if is_meant and not signal_job(directory, asked):
                self.jobs.cancel(directory, asked)

    def close(self) -> None:
        """Nothing to release: these launchers end their processes with this one."""

    def _launch(
        self,
        overrides: Sequence[str],
        number: int,
        directory: Path,
        alone: bool,
        future: "Future[JobReturn]",
    ) -> None:
        if not self._enter(directory, alone):
            told = "the trial was asked to stop before it began"
            future.set_exception(TrialInterruptedError(told))
            return
        oom_kills = self._oom_kills.unexplained()
        try:
            returned = self.jobs.run(overrides, number, directory)
        except BaseException as error:
            self._leave(directory, alone)
            if isinstance(error, BrokenProcessPool) and not alone:
                self._lost.add(number)
                future.set_exception(_caused_by(TrialInterruptedError(_TAKEN_ALONG), error))
            elif _is_death(error) and self._oom_kills.explain(oom_kills):
                future.set_exception(_caused_by(TrialMemoryError(OUT_OF_MEMORY), error))
            else:
                future.set_exception(_as_study_error(error))
        else:
            self._leave(directory, alone)
            future.set_result(returned)

    def _enter(self, directory: Path, alone: bool) -> bool:
        """Wait until a job may run; return False if it was interrupted meanwhile."""

        def is_off() -> bool:
            return directory not in self._waiting

        with self._changed:
            self._changed.wait_for(lambda: is_off() or not self._waits_for_all)
            if is_off():
                return False
            self._waits_for_all = alone
            self._changed.wait_for(lambda: is_off() or not (alone and self._running))
            if is_off():
                self._waits_for_all = self._waits_for_all and not alone
                self._changed.notify_all()
                return False
            self._waiting.remove(directory)
            self._running.add(directory)
            return True

    def _leave(self, directory: Path, alone: bool) -> None:
        with self._changed:
            self._running.discard(directory)
            mark_ended(directory)  # its process may have died before
            self._waits_for_all = self._waits_for_all and not alone
            self._changed.notify_all()


def _as_study_error(error: BaseException) -> BaseException:
    """Translate a launcher's error to one of `harnest.core.failure`, if possible."""
    told = " ".join(str(error).strip().splitlines()[:2])
    name = type(error).__name__
    if name == "UncompletedJobError":
        state = re.search(r"\(state: ([A-Z_]+)", told)
        if state and state[1] in _ENDS:
            return _caused_by(_ENDS[state[1]](f"SLURM ended the trial's job: {state[1]}"), error)
        if "timed-out" in told:
            return _caused_by(TrialTimeoutError(told), error)
    if name == "TaskCancelledError":
        return _caused_by(TrialInterruptedError("the trial was cancelled"), error)
    if _is_death(error):
        by = re.search(r"\bSIG[A-Z]+", str(error))
        how = by[0] if by else told
        return _caused_by(TrialKilledError(f"the trial's process died: {how}"), error)
    return error


def _is_death(error: BaseException) -> bool:
    return isinstance(error, BrokenProcessPool) or type(error).__name__ in _DEATHS


def _caused_by(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error
