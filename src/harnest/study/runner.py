"""Launchers as the study uses them: jobs go in one by one, and come back when they end."""

import contextvars
import os
import re
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Protocol

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from harnest.failure import TrialInterruptedError, TrialKilledError, TrialTimeoutError
from harnest.study.guest import Guest
from harnest.study.slot import mark_ended, signal_job

#: Launchers with processes of their own, which may be called from several threads.
_SIDE_BY_SIDE = {"JoblibLauncher", "LocalLauncher", "SlurmLauncher", "RayLauncher"}

#: What they raise for a job whose process did not live to its end.
_DEATHS = {"UncompletedJobError", "WorkerCrashedError", "NodeDiedError"}

#: Keys of theirs that say how many jobs they run at once.
_AT_ONCE = ("n_jobs", "ray.init.num_cpus")


class Runner(Protocol):
    """Runs jobs; `harnest.study.slots.SlotsLauncher` is one."""

    @property
    def capacity(self) -> int:
        """How many jobs it takes at once."""

    def submit(
        self,
        overrides: Sequence[str],
        number: int,
        member: str = "",
        retry_of: int | None = None,
    ) -> "Future[JobReturn]":
        """Take a job; ``number`` is its directory's name, ``retry_of`` that of an earlier try.

        A ``member`` of a trial writes in a directory of its name within the trial's.
        """

    def interrupt(self, number_of_signal: int) -> None:
        """Signal all running jobs."""

    def close(self) -> None:
        """Let go of everything."""


class BatchRunner:
    """Any Hydra launcher: it runs the jobs of a batch and returns when all have ended."""

    def __init__(self, launcher: Launcher, capacity: int) -> None:
        self.launcher = launcher
        self.capacity = capacity
        self._running: list[Future[JobReturn]] = []
        self._waiting: list[tuple[Sequence[str], int, Future[JobReturn]]] = []

    def submit(
        self,
        overrides: Sequence[str],
        number: int,
        member: str = "",
        retry_of: int | None = None,
    ) -> "Future[JobReturn]":
        """Keep the job until the batch is launched."""
        future: Future[JobReturn] = Future()
        self._waiting.append((overrides, number, future))
        return future

    def launch(self) -> None:
        """Run the batch. A launcher numbers its jobs in a row, so a gap starts another batch.

        What a launcher raises is the end of every job in its batch.
        """
        batch, self._waiting = self._waiting, []
        self._running = [job[2] for job in batch]
        while batch:
            first = batch[0][1]
            row = [job for index, job in enumerate(batch) if job[1] == first + index]
            batch = batch[len(row) :]
            try:
                returns = self.launcher.launch([list(job[0]) for job in row], initial_job_idx=first)
            except Exception as error:
                for _, _, future in row:
                    future.set_exception(error)
                continue
            for (_, _, future), returned in zip(row, returns, strict=True):
                future.set_result(returned)

    def interrupt(self, number_of_signal: int) -> None:
        """Such a launcher was interrupted itself, and its jobs with it."""
        for future in self._running:
            if not future.done():
                future.set_exception(KeyboardInterrupt())

    def close(self) -> None:
        """Nothing to let go of."""


class SideBySide:
    """A launcher with processes of its own, called once for each job, from a thread of its own.

    So no job waits for the slowest of a batch, and the end of each is told apart. Where a pool's
    one dead process ends the jobs of all, as joblib's does, nobody knows whose job killed it:
    they are lost, and each is run again with no other beside it.
    """

    def __init__(self, launcher: Any, capacity: int, directory: Path) -> None:
        launcher.task_function = Guest(launcher.task_function)
        self.launcher = launcher
        self.capacity = capacity
        self.directory = directory
        self._running: set[Path] = set()
        self._lost: set[int] = set()
        self._waits_for_all = False
        self._changed = threading.Condition()

    def submit(
        self,
        overrides: Sequence[str],
        number: int,
        member: str = "",
        retry_of: int | None = None,
    ) -> "Future[JobReturn]":
        """Launch the job, once those before it leave it the room that it needs.

        The future raises `TrialKilledError` where the job's process did not live to its end,
        `TrialTimeoutError` where it took too long, and `TrialInterruptedError` where it had to end
        with others.
        """
        if type(self.launcher).__name__ == "RayLauncher":
            _start_ray(self.launcher)
        future: Future[JobReturn] = Future()
        future.set_running_or_notify_cancel()
        alone = self.capacity == 1 or retry_of in self._lost
        job = (overrides, number, self.directory / str(number) / member, alone, future)
        # A config may only call what it is trusted with, and threads do not inherit that.
        call = contextvars.copy_context().run
        threading.Thread(target=call, args=(self._launch, *job), daemon=True).start()
        return future

    def interrupt(self, number_of_signal: int) -> None:
        """Ask all running jobs to stop at once, as Ctrl-C would; SIGKILL does not ask."""
        asked = signal.SIGINT if number_of_signal == signal.SIGTERM else number_of_signal
        for directory in list(self._running):
            signal_job(directory, asked)

    def close(self) -> None:
        """Nothing to let go of: these launchers end their processes with ours."""

    def _launch(
        self,
        overrides: Sequence[str],
        number: int,
        directory: Path,
        alone: bool,
        future: "Future[JobReturn]",
    ) -> None:
        self._enter(directory, alone)
        try:
            (returned,) = self.launcher.launch([list(overrides)], initial_job_idx=number)
        except BaseException as error:
            self._leave(directory, alone)
            future.set_exception(self._translated(error, number, alone))
        else:
            self._leave(directory, alone)
            future.set_result(returned)

    def _enter(self, directory: Path, alone: bool) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._waits_for_all)
            self._waits_for_all = alone
            self._changed.wait_for(lambda: not (alone and self._running))
            self._running.add(directory)

    def _leave(self, directory: Path, alone: bool) -> None:
        with self._changed:
            self._running.discard(directory)
            mark_ended(directory)  # it may not have come to that itself
            self._waits_for_all = self._waits_for_all and not alone
            self._changed.notify_all()

    def _translated(self, error: BaseException, number: int, alone: bool) -> BaseException:
        told = " ".join(str(error).strip().splitlines()[:2])
        if isinstance(error, BrokenProcessPool) and not alone:
            self._lost.add(number)
            translated: BaseException = TrialInterruptedError(
                "it ended with another trial, whose process died: the launcher ends all then"
            )
        elif type(error).__name__ == "UncompletedJobError" and "timed-out" in told:
            translated = TrialTimeoutError(told)
        elif isinstance(error, BrokenProcessPool) or type(error).__name__ in _DEATHS:
            number_of_signal = re.search(r"SIG[A-Z]+", str(error))
            how = number_of_signal[0] if number_of_signal else told
            translated = TrialKilledError(f"the trial's process died: {how}")
        else:
            return error
        translated.__cause__ = error
        return translated


def _start_ray(launcher: Any) -> None:
    """Start ray as its launcher would at its first job, but in the thread of the study's loop.

    Two launches would start it twice, and it ends with the thread that started it. To run a job
    again is the study's business: ray would do it under the same number, in the same directory.
    """
    import ray

    launcher.ray_cfg = OmegaConf.merge({"remote": {"max_retries": 0}}, launcher.ray_cfg)
    if not ray.is_initialized():
        before = signal.getsignal(signal.SIGTERM)
        options: Any = OmegaConf.to_container(launcher.ray_cfg.init, resolve=True)
        ray.init(**options)
        signal.signal(signal.SIGTERM, before)  # ray takes it, and it is the loop's


def runner_for(
    launcher: Any, batch: int | None, config: DictConfig, directory: Path
) -> "Runner | BatchRunner":
    """The launcher itself where it takes single jobs, else one that hands them to it.

    ``batch`` is how many it gets at once; None: as many as its ``config`` says, else one per core
    for a launcher with processes of its own, and one for any other.
    """
    if hasattr(launcher, "submit"):
        runner: Runner | BatchRunner = launcher
    elif type(launcher).__name__ in _SIDE_BY_SIDE:
        said = [OmegaConf.select(config, key) for key in _AT_ONCE]
        counts = [batch, *said, len(os.sched_getaffinity(0))]
        at_once = next(count for count in counts if count is not None and count > 0)
        runner = SideBySide(launcher, at_once, directory)
    else:
        runner = BatchRunner(launcher, batch or 1)
    return runner
