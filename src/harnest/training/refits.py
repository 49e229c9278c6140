"""Trains configs in parallel, one process per slot."""

import os
import signal
import tempfile
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from harnest.core.errors import StudyError
from harnest.study.execution.job_process import Context, begin_job, exit_reason, take_slot
from harnest.study.execution.oom import prefer_oom_kill
from harnest.study.execution.slot import Slot, find_slots, mark_ended, signal_job
from harnest.study.execution.slots_launcher import start_fork_server
from harnest.training.task import task_of

_GRACE = 15.0  # seconds that interrupted refits have to end by themselves

#: What a refit imports: forked from a process that has it, it begins at once.
_PRELOAD = (
    "harnest.study.execution.forkserver_preload",
    "harnest.study.execution.job_process",
    "harnest.training.trial_imports",
    "mlflow",
)


@dataclass(frozen=True)
class RefitJob:
    """One config to train and to test; its record in the store at ``address`` is ``name``."""

    cfg: DictConfig
    name: str
    address: str
    tags: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    folder: str = field(default_factory=os.getcwd)


@dataclass(frozen=True)
class Started:
    """A refit begins to train."""

    job: RefitJob


@dataclass(frozen=True)
class Ended:
    """A refit was trained in ``directory`` and tested."""

    job: RefitJob
    directory: Path
    score: float
    tests: Mapping[str, float]


def train_side_by_side(jobs: Sequence[RefitJob]) -> Generator[Started | Ended]:
    """Train and test ``jobs`` in parallel on the slots of this machine; yields events.

    Each job has the threads of its slot, as a trial has, so its score does not depend on the
    others. An error of a job, or KeyboardInterrupt, is raised after the other jobs have been
    interrupted.

    Raises:
        StudyError: The process of a job died.
    """
    import pebble

    if not jobs:
        return
    start_fork_server([*_PRELOAD, *task_of(jobs[0].cfg).trial_imports])
    free = deque(find_slots("auto", 1, "auto"))
    waiting = deque(enumerate(jobs))
    running: dict[Future[Any], tuple[RefitJob, Slot, Path]] = {}
    with tempfile.TemporaryDirectory() as folder:
        pool: Any = pebble.ProcessPool(
            max_workers=min(len(free), len(jobs)),
            max_tasks=1,
            initializer=prefer_oom_kill,
            context=Context(),
        )
        try:
            while waiting or running:
                while waiting and free:
                    number, job = waiting.popleft()
                    slot, home = free.popleft(), Path(folder, str(number))
                    running[pool.schedule(_train, args=(job, slot, home))] = (job, slot, home)
                    yield Started(job)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job, slot, _ = running.pop(future)
                    free.append(slot)
                    try:
                        directory, score, tests = future.result()
                    except pebble.ProcessExpired as error:
                        died = exit_reason(error.exitcode)
                        raise StudyError(f"the process of {job.name} died: {died}") from error
                    yield Ended(job, directory, score, tests)
        finally:
            # SIGTERM alone: a second signal would not let them end in order.
            for _, _, home in running.values():
                signal_job(home, signal.SIGTERM)
            wait(running, timeout=_GRACE)
            pool.stop()
            pool.join()


def _train(job: RefitJob, slot: Slot, home: Path) -> tuple[Path, float, dict[str, float]]:
    from harnest.study.execution.managed_task import redirect_output

    begin_job(home)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's; the parent passes it on
    redirect_output(home / "output.log")
    try:
        os.environ.clear()
        os.environ.update(job.environment)
        os.chdir(job.folder)
        take_slot(slot)

        from harnest.core.paths import BEST_CHECKPOINT
        from harnest.training.retrain import retrain

        done = retrain(job.cfg, name=job.name, address=job.address, tags=job.tags)
        return (
            done.directory,
            done.score,
            task_of(job.cfg).evaluate(job.cfg, done.directory / BEST_CHECKPOINT),
        )
    finally:
        mark_ended(home)
