"""Launchers as the study uses them: jobs go in one by one, and come back when they end."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher


class Runner(Protocol):
    """Runs jobs; `harnest.study.slots.SlotsLauncher` is one."""

    @property
    def capacity(self) -> int:
        """How many jobs it takes at once."""

    def submit(self, overrides: Sequence[str], number: int) -> "Future[JobReturn]":
        """Take a job; its number is its directory's name."""

    def interrupt(self, number_of_signal: int) -> None:
        """Signal all running jobs."""

    def close(self) -> None:
        """Let go of everything."""


class BatchRunner:
    """Any other Hydra launcher: it runs the jobs of a batch and returns when all have ended."""

    def __init__(self, launcher: Launcher, capacity: int) -> None:
        self.launcher = launcher
        self.capacity = capacity
        self._running: list[Future[JobReturn]] = []
        self._waiting: list[tuple[Sequence[str], int, Future[JobReturn]]] = []

    def submit(self, overrides: Sequence[str], number: int) -> "Future[JobReturn]":
        """Keep the job until the batch is launched."""
        future: Future[JobReturn] = Future()
        self._waiting.append((overrides, number, future))
        return future

    def launch(self) -> None:
        """Run the batch. A launcher numbers its jobs in a row, so a gap starts another batch."""
        batch, self._waiting = self._waiting, []
        self._running = [job[2] for job in batch]
        while batch:
            first = batch[0][1]
            row = [job for index, job in enumerate(batch) if job[1] == first + index]
            batch = batch[len(row) :]
            try:
                returns = self.launcher.launch([list(job[0]) for job in row], initial_job_idx=first)
            except BaseException as error:
                for _, _, future in [*row, *batch]:
                    future.set_exception(error)
                raise
            for (_, _, future), returned in zip(row, returns, strict=True):
                future.set_result(returned)

    def interrupt(self, number_of_signal: int) -> None:
        """Such a launcher was interrupted itself, and its jobs with it."""
        for future in self._running:
            if not future.done():
                future.set_exception(KeyboardInterrupt())

    def close(self) -> None:
        """Nothing to let go of."""


def runner_for(launcher: Any, batch: int) -> "Runner | BatchRunner":
    """The launcher itself where it takes single jobs, else one that fills batches for it."""
    return launcher if hasattr(launcher, "submit") else BatchRunner(launcher, batch)
