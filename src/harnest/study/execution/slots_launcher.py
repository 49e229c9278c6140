"""A Hydra launcher that runs each job in its own process, on a slot of this machine."""

import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from harnest.core.errors import StudyError
from harnest.core.failure import (
    OUT_OF_MEMORY,
    TrialInterruptedError,
    TrialKilledError,
    TrialMemoryError,
    TrialTimeoutError,
)
from harnest.study.execution.config_cache import ConfigCache
from harnest.study.execution.launcher_traits import Jobs, LauncherTraits
from harnest.study.execution.oom import OomKills, prefer_oom_kill
from harnest.study.execution.slot import EVERYWHERE, Slot, find_slots, mark_ended, signal_job

if TYPE_CHECKING:
    from pebble import ProcessPool

    from harnest.study.execution.job_process import Application

#: Slow imports, which the fork server preloads if the application has imported them.
_FAMILIAR = ("torch", "pytorch_lightning", "lightning", "mlflow")

_MOMENT = 1.0  # seconds that a process may take to start, or to send its job's return


class SlotsLauncher(Launcher):
    """Runs each job in a new process of a fork server, on the next free slot.

    Args:
        gpus: See `find_slots`.
        per_gpu: See `find_slots`.
        cpu_slots: See `find_slots`.
        timeout: Seconds after which a job is killed; None: no limit.
        preload: Modules that the fork server imports once for all jobs, in addition to those of
            torch, Lightning and MLflow that the application has imported.

    Raises:
        StudyError: An argument is invalid, or a GPU or module does not exist.
    """

    traits: ClassVar[LauncherTraits] = LauncherTraits(Jobs.SUBMIT)

    def __init__(
        self,
        gpus: Any,
        per_gpu: int,
        cpu_slots: Any,
        timeout: float | None,
        preload: Sequence[str],
    ) -> None:
        if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
            raise StudyError(f"hydra.launcher.timeout={timeout}: it must be a number above 0")
        # The fork server ignores modules that it cannot import, which would slow down each trial.
        missing = [name for name in preload if find_spec(name.partition(".")[0]) is None]
        if missing:
            raise StudyError(f"hydra.launcher.preload: there is no module {missing[0]}")
        self.slots = find_slots(gpus, per_gpu, cpu_slots)
        self.timeout = timeout
        self.preload = list(preload)
        self._free: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        for slot in self.slots:
            self._free.put(slot)
        self._running: dict[Path, Future[Any]] = {}
        self._oom_kills = OomKills()
        self._pool: ProcessPool | None = None
        self._spec: ModuleSpec | None = None
        self._prepared: Application | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Set up the launcher and start the fork server; called by Hydra.

        The fork server starts this early because its imports take longer than everything else that
        a sweep does before its first job.
        """
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.composer = ConfigCache(hydra_context.config_loader, config)
        needed = [
            "harnest.study.execution.forkserver_preload",
            "harnest.study.execution.job_process",
            "optuna",
        ]
        familiar = [name for name in _FAMILIAR if name in sys.modules]
        start_fork_server([*needed, *familiar, *self.preload])

    @property
    def capacity(self) -> int:
        """How many jobs run at once."""
        return len(self.slots)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run a batch of jobs and wait for all; called by third-party sweepers."""
        try:
            jobs = [
                self.submit(overrides, initial_job_idx + index)
                for index, overrides in enumerate(job_overrides)
            ]
            return [_returned(job) for job in jobs]
        finally:
            self.close()

    def submit(
        self,
        overrides: Sequence[str],
        number: int,
        replicate: str = "",
        retry_of: int | None = None,
    ) -> "Future[JobReturn]":
        """Start a job, blocking until a slot is free.

        Args:
            overrides: The job's overrides, in Hydra's syntax.
            number: Number of the trial, which is also the name of its directory.
            replicate: Name of the replicate, which writes to a subdirectory of this name.
            retry_of: Ignored.

        Returns:
            A future of the job's return, which is a failed one if the job was interrupted. If the
            process dies, it raises `TrialTimeoutError`, `TrialMemoryError` or `TrialKilledError`;
            if the job ends before its process starts, `TrialInterruptedError`.
        """
        from harnest.study.execution.job_process import Job, run

        config, directory = self._composed(overrides, number, replicate)
        slot = self._free.get()
        job = Job.of(self._application(), config, slot, directory)
        result: Future[JobReturn] = Future()
        result.set_running_or_notify_cancel()
        oom_kills = self._oom_kills.unexplained()
        pool_future = self._schedule(run, job)
        self._running[directory] = pool_future

        def finish(done: "Future[bytes]") -> None:
            self._running.pop(directory, None)  # third-party sweepers may reuse a directory
            mark_ended(directory)  # a killed process has not done so
            self._free.put(slot)
            try:
                result.set_result(Job.unpack(done.result()))
            except BaseException as error:
                result.set_exception(self._as_study_error(error, oom_kills))

        pool_future.add_done_callback(finish)
        return result

    def _composed(
        self, overrides: Sequence[str], number: int, replicate: str
    ) -> tuple[DictConfig, Path]:
        """Return the config of a job and its directory."""
        config = self.composer.compose(overrides)
        with open_dict(config):
            config.hydra.job.id = f"{number}/{replicate}".rstrip("/")
            config.hydra.job.num = number
        directory = Path(config.hydra.sweep.dir).absolute() / str(config.hydra.sweep.subdir)
        return config, directory

    def _application(self) -> "Application":
        from harnest.study.execution.job_process import Application

        if self._prepared is None:
            self._prepared = Application.of(self.hydra_context, self.task_function)
        return self._prepared

    def interrupt(self, number_of_signal: int = signal.SIGTERM, within: Path = EVERYWHERE) -> None:
        """Signal running jobs and cancel pending ones; a job that has just ended is left alone.

        Args:
            number_of_signal: SIGTERM interrupts a job as Ctrl-C does; SIGKILL kills it.
            within: Only jobs that write to this directory or below it.
        """
        until = time.monotonic() + _MOMENT
        for directory, job in list(self._running.items()):
            if not directory.is_relative_to(within.absolute()):
                continue
            while not (job.done() or signal_job(directory, number_of_signal)):
                # A running job without a mark has just ended, or is about to start.
                if not job.running() or time.monotonic() > until:
                    job.cancel()
                    break
                time.sleep(0.01)

    def close(self) -> None:
        """End the pool and its processes."""
        self._end_pool()

    def _end_pool(self) -> None:
        if self._pool is not None:
            pool: Any = self._pool
            pool.stop()
            pool.join()
            self._pool = None
            sys.modules["__main__"].__spec__ = self._spec

    def _schedule(self, work: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Run ``work`` in a new process of the pool."""
        pool = self._opened()
        future: Future[Any] = pool.schedule(work, args=arguments, timeout=self.timeout)

        def look() -> None:  # a pool that breaks loses a job scheduled at this moment
            if not pool.active:
                future.cancel()

        timer = threading.Timer(_MOMENT, look)
        timer.daemon = True
        timer.start()
        return future

    def _opened(self) -> "ProcessPool":
        if self._pool is not None and not self._pool.active:
            self._end_pool()  # pebble deactivates a pool whose idle process was killed
        if self._pool is None:
            import pebble

            from harnest.study.execution.job_process import Context

            # Stops multiprocessing from importing the main module: a job imports it after it has
            # taken its slot. A script that looks for GPUs at import would use those of all slots.
            self._spec = sys.modules["__main__"].__spec__
            sys.modules["__main__"].__spec__ = ModuleSpec("__main__", None)
            # One spare process, ready for the slot that is freed next.
            self._pool = pebble.ProcessPool(
                max_workers=len(self.slots) + 1,
                max_tasks=1,
                initializer=prefer_oom_kill,
                context=Context(),
            )
        return self._pool

    def _as_study_error(self, error: BaseException, oom_kills: int) -> BaseException:
        from pebble import ProcessExpired

        from harnest.study.execution.job_process import exit_reason

        if isinstance(error, ProcessExpired):
            is_kill = error.exitcode == -signal.SIGKILL
            if is_kill and self._oom_kills.explain(oom_kills):
                return TrialMemoryError(OUT_OF_MEMORY)
            return TrialKilledError(f"the trial's process died: {exit_reason(error.exitcode)}")
        if isinstance(error, TimeoutError):
            return TrialTimeoutError(f"the trial took longer than {self.timeout:g} s")
        if isinstance(error, CancelledError):
            return TrialInterruptedError("the trial was asked to stop before it began")
        if isinstance(error, BrokenProcessPool):
            return TrialInterruptedError("the trial's process was killed before it began")
        return error


def start_fork_server(modules: Sequence[str]) -> None:
    """Start the fork server, which imports ``modules`` in the background."""
    forkserver.set_forkserver_preload(list(modules))
    # Ctrl-C also reaches the fork server: block SIGINT until it can exit without a traceback.
    resource_tracker.ensure_running()  # started later, it would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _returned(job: "Future[JobReturn]") -> JobReturn:
    """Return the job's return; a failed one if its process died, for the sweeper to handle."""
    try:
        return job.result()
    except StudyError as error:
        returned = JobReturn(status=JobStatus.FAILED)
        returned.return_value = error
        return returned


ConfigStore.instance().store(
    group="hydra/launcher",
    name="slots",
    provider="harnest",
    replace=True,
    node={
        "_target_": "harnest.study.execution.slots_launcher.SlotsLauncher",
        "gpus": "auto",
        "per_gpu": 1,
        "cpu_slots": "auto",
        "timeout": None,
        "preload": [],
    },
)
