"""The executor interface of a study, and the executor for each Hydra launcher."""

import os
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from harnest.core.errors import StudyError
from harnest.study.execution.launcher_backend import LauncherBackend
from harnest.study.execution.launcher_traits import Jobs, traits_of
from harnest.study.execution.managed_task import as_picklable_error, with_environment_restored
from harnest.study.execution.ray_backend import RayBackend
from harnest.study.execution.slot import EVERYWHERE
from harnest.study.execution.slurm_backend import SlurmBackend
from harnest.study.execution.threaded_executor import ThreadedExecutor

#: Config keys of third-party launchers: how many jobs run at once.
_AT_ONCE = ("n_jobs", "array_parallelism")


class Executor(Protocol):
    """Runs single jobs, as `harnest.study.execution.slots_launcher.SlotsLauncher` does."""

    @property
    def capacity(self) -> int:
        """How many jobs run at once."""

    def submit(
        self,
        overrides: Sequence[str],
        number: int,
        replicate: str = "",
        retry_of: int | None = None,
    ) -> "Future[JobReturn]":
        """Submit a job.

        Args:
            overrides: The job's overrides, in Hydra's syntax.
            number: Number of the trial, which is also the name of its directory.
            replicate: Name of the replicate, which writes to a subdirectory of this name.
            retry_of: Number of the earlier trial that this one retries.
        """

    def interrupt(self, number_of_signal: int, within: Path = EVERYWHERE) -> None:
        """Signal running jobs and cancel pending ones.

        A pending job that starts anyway ends when it loads its trial, which has ended.

        Args:
            number_of_signal: The signal to send.
            within: Only jobs that write to this directory or below it.
        """

    def close(self) -> None:
        """Release all resources."""


class BatchExecutor:
    """Executor for any Hydra launcher: runs jobs in batches and waits for each whole batch.

    Args:
        launcher: The launcher, already set up.
        capacity: How many jobs a batch has.
    """

    def __init__(self, launcher: Launcher, capacity: int) -> None:
        if hasattr(launcher, "task_function"):  # where Hydra's own launchers have it
            launcher.task_function = with_environment_restored(launcher.task_function)
        self.launcher = launcher
        self.capacity = capacity
        self._running: list[Future[JobReturn]] = []
        self._waiting: list[tuple[Sequence[str], int, Future[JobReturn]]] = []

    def submit(
        self,
        overrides: Sequence[str],
        number: int,
        replicate: str = "",
        retry_of: int | None = None,
    ) -> "Future[JobReturn]":
        """Keep the job until the batch is launched."""
        future: Future[JobReturn] = Future()
        self._waiting.append((overrides, number, future))
        return future

    def launch(self) -> None:
        """Run the submitted jobs.

        A launcher numbers its jobs consecutively, so a gap in the numbers starts another batch. An
        error that the launcher raises fails every job of its batch.
        """
        batch, self._waiting = self._waiting, []
        self._running = [job[2] for job in batch]
        while batch:
            first = batch[0][1]
            row = [job for index, job in enumerate(batch) if job[1] == first + index]
            batch = batch[len(row) :]
            try:
                returns = self.launcher.launch([list(job[0]) for job in row], initial_job_idx=first)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                for _, _, future in row:
                    future.set_exception(as_picklable_error(error))
                continue
            for (_, _, future), returned in zip(row, returns, strict=True):
                future.set_result(returned)

    def interrupt(self, number_of_signal: int, within: Path = EVERYWHERE) -> None:
        """Mark unfinished jobs as interrupted; no signal is sent.

        The launcher runs in this process, so the interrupt has ended its running jobs. For a single
        trial nothing is left to signal: its batch has ended.
        """
        for future in [*self._running, *(job[2] for job in self._waiting)]:
            if not future.done():
                future.set_exception(KeyboardInterrupt())
        self._waiting = []

    def close(self) -> None:
        """Do nothing: the launcher holds no resources."""


def executor_for(
    launcher: Any, batch: int | None, config: DictConfig, directory: Path
) -> "Executor | BatchExecutor":
    """Return the launcher itself if it takes single jobs, else an executor that uses it.

    Args:
        launcher: The launcher, already set up.
        batch: How many jobs run at once. None: as many as ``config`` says, else the capacity of a
            ray cluster, one per core for another launcher that starts processes, and one for any
            other launcher.
        config: The launcher's config.
        directory: The study's directory.

    Raises:
        StudyError: ``batch`` is not a whole number of at least 1, or the launcher would wait
            forever for a killed process.
    """
    if batch is not None and not (isinstance(batch, int) and batch >= 1):
        raise StudyError(f"hydra.sweeper.batch={batch}: it must be a whole number from 1 up")
    if config.get("backend") == "multiprocessing":
        raise StudyError(
            "hydra.launcher.backend=multiprocessing waits forever for a killed process; "
            "choose loky, or hydra/launcher=slots"
        )
    jobs = traits_of(str(config.get("_target_"))).jobs
    if jobs is Jobs.SUBMIT:
        executor: Executor | BatchExecutor = launcher
        return executor
    counts = [batch, *(config.get(key) for key in _AT_ONCE), len(os.sched_getaffinity(0))]
    at_once = next(count for count in counts if count is not None and count > 0)
    if jobs is Jobs.RAY:
        return ThreadedExecutor(RayBackend(launcher, batch), directory)
    if jobs is Jobs.SLURM:
        return ThreadedExecutor(SlurmBackend(launcher, at_once), directory)
    if jobs is Jobs.THREADS and config.get("n_jobs") != 1:  # joblib runs that in this process
        return ThreadedExecutor(LauncherBackend(launcher, at_once), directory)
    return BatchExecutor(launcher, batch or 1)
