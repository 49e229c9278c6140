"""A Hydra launcher: jobs in processes of their own, on shares of this machine."""

import os
import queue
import shutil
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from harnest.errors import StudyError
from harnest.failure import TrialKilledError, TrialTimeoutError

if TYPE_CHECKING:
    from pebble import ProcessPool


@dataclass(frozen=True)
class Slot:
    """A place where one job can run: one GPU or a share of it, or some CPU threads.

    ``gpu`` is what CUDA_VISIBLE_DEVICES names it by; None: no GPU.
    """

    number: int
    gpu: str | None
    threads: int


def find_slots(
    gpus: Literal["auto", "none"] | Sequence[int | str],
    per_gpu: int,
    cpu_slots: Literal["auto"] | int,
) -> list[Slot]:
    """The slots of this machine: ``per_gpu`` on each GPU, or ``cpu_slots`` where there is none.

    Threads are shared out evenly. Raises `StudyError` for numbers below 1 and for GPUs that
    were asked for and are not there.
    """
    cores = len(os.sched_getaffinity(0))
    places = [None] * (cores if cpu_slots == "auto" else int(cpu_slots))
    cards = _visible_gpus()
    if not isinstance(gpus, str):
        missing = [str(card) for card in gpus if str(card) not in cards]
        if missing:
            there = ", ".join(cards) or "none"
            raise StudyError(f"hydra.launcher.gpus: there is no GPU {missing[0]}; there is {there}")
        cards = [str(card) for card in gpus]
    elif gpus == "none":
        cards = []
    elif gpus != "auto":
        raise StudyError(f"hydra.launcher.gpus={gpus}: choose auto, none or a list of numbers")
    on_cards: list[str | None] = [card for card in cards for _ in range(per_gpu)]
    chosen = on_cards or places
    if per_gpu < 1 or not chosen:
        raise StudyError("hydra.launcher: per_gpu and cpu_slots must be at least 1")
    threads = max(1, cores // len(chosen))
    return [Slot(number, gpu, threads) for number, gpu in enumerate(chosen)]


def _visible_gpus() -> list[str]:
    """Names of the GPUs that this process may use, found without making a CUDA context."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    asked = subprocess.run(  # noqa: S603
        [program, "--query-gpu=index", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return asked.stdout.split() if asked.returncode == 0 else []


class SlotsLauncher(Launcher):
    """Runs each job in a fresh process, forked from a warm one, on the next free slot.

    ``timeout`` ends a job after so many seconds. ``preload`` names modules that the warm
    process imports once for all jobs.
    """

    def __init__(
        self,
        gpus: Any,
        per_gpu: int,
        cpu_slots: Any,
        timeout: float | None,
        preload: Sequence[str],
    ) -> None:
        self.slots = find_slots(gpus, per_gpu, cpu_slots)
        self.timeout = timeout
        self.preload = list(preload)
        self._free: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        for slot in self.slots:
            self._free.put(slot)
        self._pids: dict[int, Path] = {}
        self._pool: ProcessPool | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what `submit` needs; called by Hydra."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    @property
    def capacity(self) -> int:
        """How many jobs run at once."""
        return len(self.slots)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run a batch of jobs and wait for all; called by other sweepers than ours."""
        try:
            jobs = [
                self.submit(overrides, initial_job_idx + index)
                for index, overrides in enumerate(job_overrides)
            ]
            return [job.result() for job in jobs]
        finally:
            self.close()

    def submit(self, overrides: Sequence[str], number: int) -> "Future[JobReturn]":
        """Start job ``number`` once a slot is free.

        The future raises `TrialTimeoutError` or `TrialKilledError` where the process did not
        live to its end; an interrupted job returns a failed job whose error is the interrupt.
        """
        from harnest.study.process import Job, run

        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = str(number)
            config.hydra.job.num = number
        directory = Path(config.hydra.sweep.dir).absolute() / str(config.hydra.sweep.subdir)
        slot = self._free.get()
        job = Job.pack(self.hydra_context, self.task_function, config, slot, directory)
        result: Future[JobReturn] = Future()
        result.set_running_or_notify_cancel()
        self._pids[number] = directory / PID_FILE
        pool_future = self._opened().schedule(run, args=[job], timeout=self.timeout)

        def finish(done: "Future[bytes]") -> None:
            self._pids.pop(number, None)
            self._free.put(slot)
            try:
                result.set_result(Job.unpack(done.result()))
            except BaseException as error:
                result.set_exception(self._translated(error))

        pool_future.add_done_callback(finish)
        return result

    def interrupt(self, number_of_signal: int = signal.SIGTERM) -> None:
        """Ask all running jobs to stop at once, as Ctrl-C would; SIGKILL does not ask."""
        for file in list(self._pids.values()):
            try:
                os.kill(int(file.read_text()), number_of_signal)
            except (OSError, ValueError):
                continue  # not started yet, or gone already

    def close(self) -> None:
        """End the pool and its warm processes."""
        if self._pool is not None:
            pool: Any = self._pool
            pool.stop()
            pool.join()
            self._pool = None

    def _opened(self) -> "ProcessPool":
        if self._pool is None:
            import multiprocessing

            import pebble

            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(["harnest.study.process", "optuna", *self.preload])
            # One process more than slots: it waits, ready, for the slot that is freed next.
            self._pool = pebble.ProcessPool(
                max_workers=self.capacity + 1, max_tasks=1, context=context
            )
        return self._pool

    def _translated(self, error: BaseException) -> BaseException:
        from pebble import ProcessExpired

        if isinstance(error, ProcessExpired):
            return TrialKilledError(f"the trial's process died: {_how_it_died(error.exitcode)}")
        if isinstance(error, TimeoutError):
            return TrialTimeoutError(f"the trial took longer than {self.timeout:g} s")
        return error


#: In a job's directory while it runs: the number of its process.
PID_FILE = ".pid"


def _how_it_died(code: int) -> str:
    if code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"


ConfigStore.instance().store(
    group="hydra/launcher",
    name="slots",
    provider="harnest",
    replace=True,
    node={
        "_target_": "harnest.study.slots.SlotsLauncher",
        "gpus": "auto",
        "per_gpu": 1,
        "cpu_slots": "auto",
        "timeout": None,
        "preload": [],
    },
)
