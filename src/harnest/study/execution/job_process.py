"""A job's process, from its fork to its result."""

import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import spawn
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import FrameType
from typing import Any

import cloudpickle
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import (
    JobReturn,
    JobStatus,
    _serialize_exception_chain,
    _serialize_traceback,
    _take_job_return_handoff,
    run_job,
    setup_globals,
)
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from harnest.core.errors import StudyError
from harnest.study.execution.managed_task import (
    as_picklable_error,
    redirect_output,
    with_environment_restored,
)
from harnest.study.execution.slot import Slot, mark_ended, mark_running

_GRACE = 5.0  # seconds that an orphaned job has to stop by itself
_LEFT = 15.0  # seconds that what a job has left running has to end by itself
_ENDED, _ZERO = 113, 256  # exit codes: of a process that has sent its result, for another's 0


@dataclass(frozen=True)
class Application:
    """What all jobs of a sweep share, in a form that their processes can load.

    Attributes:
        environment: Environment variables.
        folder: Working directory.
        script: How to import the script that was started, in the format of `multiprocessing.spawn`;
            empty if the task function is in another module.
        packed: The pickled context and task; objects of ``__main__`` are pickled by value.
    """

    environment: Mapping[str, str]
    folder: str
    script: Mapping[str, Any]
    packed: bytes

    @classmethod
    def of(cls, context: HydraContext, task: TaskFunction) -> "Application":
        """Return the application that this process runs."""
        script: dict[str, Any] = {}
        if task.__module__ == "__main__":  # else a script without a guard would sweep again
            facts = spawn.get_preparation_data("")
            script = {key: value for key, value in facts.items() if key.startswith("init_main")}
        packed = cloudpickle.dumps((context, task, Singleton.get_state()))
        return cls(dict(os.environ), str(Path.cwd()), script, packed)


@dataclass(frozen=True)
class Job:
    """A job to send to a process: its application, pickled config, slot and directory."""

    application: Application
    config: bytes
    slot: Slot
    directory: Path

    @classmethod
    def of(cls, application: Application, config: DictConfig, slot: Slot, directory: Path) -> "Job":
        """Return a job with a pickled config, which may contain the application's own types."""
        return cls(application, cloudpickle.dumps(config), slot, directory)

    @staticmethod
    def unpack(result: bytes) -> JobReturn:
        """Unpickle the result that `run` sent."""
        returned: JobReturn = cloudpickle.loads(result)
        return returned


class _Worker(ForkServerProcess):
    """A process of pebble's pool whose exit code says whether it ended normally.

    pebble takes exit code 0 for a process that has sent its result, and would wait forever for a
    job that calls ``os._exit(0)``. It also starts no process before another one has ended, so
    threads that a job left running get a few seconds.
    """

    def run(self) -> None:
        super().run()
        threading.Thread(target=_end_late, daemon=True).start()
        sys.exit(_ENDED)

    @property
    def exitcode(self) -> int | None:
        code = super().exitcode
        return {_ENDED: 0, 0: _ZERO}.get(code, code) if code is not None else None


class Context(ForkServerContext):
    """The multiprocessing context with which pebble starts its processes."""

    Process = _Worker


def _end_late() -> None:
    time.sleep(_LEFT)
    os._exit(_ENDED)


def exit_reason(code: int) -> str:
    """Describe the exit code of a pool's process."""
    if code >= 0:
        return f"exit code {code % _ZERO}"
    return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"


def run(job: Job) -> bytes:
    """Run a job in this process, which runs no other job, and pickle its return."""
    begin_job(job.directory)
    redirect_output(job.directory / "output.log")
    try:
        context, task = enter_application(job.application, job.slot)
        returned = run_task(context, task, cloudpickle.loads(job.config))
    except KeyboardInterrupt:
        returned = was_interrupted()
    except Exception as error:
        returned = failed_return(error)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        mark_ended(job.directory)
    return packed(returned)


def packed(returned: JobReturn) -> bytes:
    """Pickle a job's return, because pebble would do so while all other processes wait."""
    try:
        return bytes(cloudpickle.dumps(returned))
    except Exception as error:  # of what the job returned, or of its config
        return bytes(cloudpickle.dumps(failed_return(error)))


def begin_job(directory: Path) -> None:
    """Set up this process for a job, and mark ``directory`` as running."""
    gc.freeze()  # what the warm process made stays: looking through it costs each job 0.3 s
    gc.enable()
    signal.signal(signal.SIGTERM, _interrupt)  # pebble's handler would end it without a word
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    directory.mkdir(parents=True, exist_ok=True)
    mark_running(directory)


def was_interrupted() -> JobReturn:
    """Return the result of an interrupted job."""
    returned = JobReturn(status=JobStatus.FAILED)
    # A new one: Hydra has hung the job's return on the other, and the two would hold each
    # other while they are pickled, without end.
    returned.return_value = KeyboardInterrupt()
    return returned


def enter_application(application: Application, slot: Slot) -> tuple[HydraContext, TaskFunction]:
    """Restore the application in this process, restricted to ``slot``."""
    os.environ.update(application.environment)
    os.chdir(application.folder)
    # The application's modules come in after this: they may look for GPUs while imported.
    take_slot(slot)
    context, task, state = cloudpickle.loads(application.packed)
    # Hydra then refuses to start in a script that calls its main function when imported.
    GlobalHydra.instance().initialize(state["instances"][GlobalHydra].hydra)
    _import_script(application.script)
    state["instances"][Plugins] = Plugins.instance()  # else Hydra looks for them again
    restore_singletons(state)
    return context, task


def restore_singletons(state: Any) -> None:
    """Initialize Hydra in this process from the pickled state of its singletons."""
    Singleton.set_state(state)
    setup_globals()


def failed_return(error: BaseException) -> JobReturn:
    """Return the result of a job that ``error`` ended outside its task."""
    # Hydra attaches the job's return to the error that it raises; pickling the cycle would not end.
    returned = _take_job_return_handoff(error) or JobReturn()
    returned.status = JobStatus.FAILED
    told = as_picklable_error(error)
    if told is not error:
        told.__cause__ = error
    returned.return_value = told
    returned._remote_traceback = _serialize_traceback(told.__traceback__)
    returned._remote_exception_chain = _serialize_exception_chain(told)
    return returned


def run_task(context: HydraContext, task: TaskFunction, config: DictConfig) -> JobReturn:
    """Run a job in this process.

    Args:
        context: Hydra's context.
        task: The application's task function.
        config: The job's config.

    Returns:
        The job's return, a failed one if the job raised an error.

    Raises:
        KeyboardInterrupt: The job was interrupted.
    """
    try:
        return run_job(
            hydra_context=context,
            task_function=with_environment_restored(task),
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return failed_return(error)


def _import_script(script: Mapping[str, Any]) -> None:
    """Import the main module, as Python's pools do: a config may refer to its members."""
    try:
        spawn.prepare(dict(script))
    except SystemExit as end:
        raise StudyError(
            "the application's script runs when it is imported; put its call under "
            'if __name__ == "__main__":'
        ) from end


def take_slot(slot: Slot) -> None:
    """Restrict this process to the slot's GPU and number of threads."""
    os.environ["CUDA_VISIBLE_DEVICES"] = slot.gpu or ""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(slot.threads)
    torch: Any = sys.modules.get("torch")
    if torch is not None:  # it was warm already, and read the variables then
        torch.set_num_threads(slot.threads)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    """Wait until the sweeper's process ends, for any reason, then end this process."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os._exit(1)
