"""The process of a pack: several jobs that run cooperatively."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cloudpickle
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction

from harnest.study.execution.barrier import run_cooperatively
from harnest.study.execution.job_process import (
    Job,
    begin_job,
    enter_application,
    failed_return,
    packed,
    run,
    run_task,
    was_interrupted,
)
from harnest.study.execution.managed_task import redirect_output
from harnest.study.execution.slot import mark_ended


def run_pack(jobs: Sequence[Job], place: Path) -> list[bytes]:
    """Run jobs of one application on one slot in this process.

    A single job runs as it would without packs and is marked in its own directory.

    Args:
        jobs: The jobs, of the same application and slot.
        place: Directory that is marked as running, since the process belongs to no single job.

    Returns:
        The pickled return of each job.
    """
    if len(jobs) == 1:
        return [run(jobs[0])]
    begin_job(place)
    redirect_output(place / "output.log")
    returns = [was_interrupted() for _ in jobs]  # until they say otherwise
    try:
        context, task = enter_application(jobs[0].application, jobs[0].slot)
        for job in jobs:
            job.directory.mkdir(parents=True, exist_ok=True)
        run_cooperatively(
            [
                (partial(_run, job, context, task, returns, index), job.directory / "output.log")
                for index, job in enumerate(jobs)
            ]
        )
    except KeyboardInterrupt:
        pass  # a second one: those that have not ended are as they are
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        mark_ended(place)
    return [packed(returned) for returned in returns]


def _run(
    job: Job, context: HydraContext, task: TaskFunction, returns: list[JobReturn], index: int
) -> None:
    try:
        returns[index] = run_task(context, task, cloudpickle.loads(job.config))
    except BaseException as error:
        returns[index] = failed_return(error)
