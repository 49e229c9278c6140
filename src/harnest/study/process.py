"""A job's own process: what happens in it, from its fork to its result."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import cloudpickle
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from harnest.study.guest import own_output
from harnest.study.slot import Slot, mark_ended, mark_running

_GRACE = 5.0  # seconds that an orphaned job has to stop by itself


def pack_common(context: HydraContext, task: TaskFunction) -> bytes:
    """Pickle what all jobs share; by value what lives in ``__main__``, as a script's task does."""
    state = Singleton.get_state()
    return bytes(cloudpickle.dumps((context, task, state, dict(os.environ), str(Path.cwd()))))


@dataclass(frozen=True)
class Job:
    """One job on its way to a process: what all share, its own config, where it runs and writes."""

    common: bytes
    config: DictConfig
    slot: Slot
    directory: Path

    @staticmethod
    def unpack(result: bytes) -> JobReturn:
        """The job's return, as `run` sent it."""
        returned: JobReturn = cloudpickle.loads(result)
        return returned


def run(job: Job) -> bytes:
    """Run one job in this process, which exists for nothing else, and pickle its return."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, _interrupt)
    job.directory.mkdir(parents=True, exist_ok=True)
    mark_running(job.directory)
    own_output(job.directory / "output.log")
    try:
        returned = _run(job)
    except KeyboardInterrupt:
        returned = JobReturn(status=JobStatus.FAILED)
        # A new one: Hydra has hung the job's return on the other, and the two would hold each
        # other while they are pickled, without end.
        returned.return_value = KeyboardInterrupt()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        mark_ended(job.directory)
    return bytes(cloudpickle.dumps(returned))


def _run(job: Job) -> JobReturn:
    context, task, state, environment, folder = cloudpickle.loads(job.common)
    os.environ.update(environment)
    os.chdir(folder)
    _take_slot(job.slot)
    return perform(context, task, state, job.config)


def perform(context: HydraContext, task: TaskFunction, state: Any, config: DictConfig) -> JobReturn:
    """Run a job in this process, which has nothing of Hydra yet but what was sent to it."""
    Singleton.set_state(state)
    setup_globals()
    return run_job(
        hydra_context=context,
        task_function=task,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def _take_slot(slot: Slot) -> None:
    """See the slot's device alone, and use no more than its threads."""
    os.environ["CUDA_VISIBLE_DEVICES"] = slot.gpu or ""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(slot.threads)
    torch: Any = sys.modules.get("torch")
    if torch is not None:  # it was warm already, and read the variables then
        torch.set_num_threads(slot.threads)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    """End this process when the sweeper's ends, in whatever way that was."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os._exit(1)
