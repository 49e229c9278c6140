"""A Hydra launcher that runs similar jobs in one process, where they can compute together."""

import json
import shutil
import signal
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from harnest.core.errors import StudyError
from harnest.study.execution.slot import EVERYWHERE, Slot
from harnest.study.execution.slots_launcher import SlotsLauncher
from harnest.study.study_task import as_study_task


@dataclass(frozen=True)
class _Waiting:
    config: DictConfig
    directory: Path
    result: "Future[JobReturn]"


@dataclass
class _Group:
    """Jobs that may share a process; ``is_ripe`` once ``batch_timeout`` has elapsed."""

    key: str
    jobs: list[_Waiting] = field(default_factory=list)
    is_ripe: bool = False


class PackedLauncher(SlotsLauncher):
    """Runs several jobs in each process if their configs differ only in given keys.

    The jobs of a pack run one at a time, and compute together when they call
    `harnest.study.synchronize`. An application declares that its jobs do so with
    ``StudyTask(..., synchronizes=True)``. A job without others to share with runs as in
    `SlotsLauncher`. An exception ends only its own job; the death of the process fails all jobs of
    the pack.

    Args:
        pack: Maximum number of jobs in a process.
        batch_timeout: A group that is not full starts after this many seconds without any new job.
        varying_keys: Config keys in which jobs of a pack may differ.
        slots: Arguments of `SlotsLauncher`. ``timeout`` applies to a whole pack.

    Raises:
        StudyError: An argument is out of range.
    """

    def __init__(
        self, pack: int, batch_timeout: float, varying_keys: Sequence[str], **slots: Any
    ) -> None:
        super().__init__(**slots)
        if not isinstance(pack, int) or pack < 1:
            raise StudyError(f"hydra.launcher.pack={pack}: it must be a whole number from 1 up")
        if not isinstance(batch_timeout, int | float) or batch_timeout < 0:
            raise StudyError(f"hydra.launcher.batch_timeout={batch_timeout}: it must be at least 0")
        self.pack = pack
        self.batch_timeout = batch_timeout
        self.varying_keys = list(varying_keys)
        self._groups: list[_Group] = []
        self._arrivals = 0  # number of jobs submitted
        self._lock = threading.RLock()
        self._numbers = count()
        self._places: Path | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Set up the launcher; called by Hydra.

        Raises:
            StudyError: The application's jobs do not call `harnest.study.synchronize`.
        """
        if not as_study_task(task_function).synchronizes:
            raise StudyError(
                "hydra/launcher=packed: this application's jobs cannot be computed together; "
                "choose hydra/launcher=slots"
            )
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    @property
    def capacity(self) -> int:
        """How many jobs run at once."""
        return len(self.slots) * self.pack

    def submit(
        self,
        overrides: Sequence[str],
        number: int,
        replicate: str = "",
        retry_of: int | None = None,
    ) -> "Future[JobReturn]":
        """Add job ``number`` to a group; arguments and future as in `SlotsLauncher.submit`."""
        config, directory = self._composed(overrides, number, replicate)
        self._application()  # raises here if the application cannot be pickled
        job = _Waiting(config, directory, Future())
        job.result.set_running_or_notify_cancel()
        with self._lock:
            self._join(job)
            self._start_groups()
            self._wait_for_more()
        return job.result

    def interrupt(self, number_of_signal: int = signal.SIGTERM, within: Path = EVERYWHERE) -> None:
        """Signal running packs and end pending jobs as interrupted.

        A single trial of a running pack cannot be signalled: its pack keeps running.
        """
        from harnest.study.execution.job_process import was_interrupted

        with self._lock:
            for group in self._groups:
                for job in group.jobs:
                    if job.directory.is_relative_to(within.absolute()):
                        job.result.set_result(was_interrupted())
                group.jobs = [job for job in group.jobs if not job.result.done()]
            self._groups = [group for group in self._groups if group.jobs]
        super().interrupt(number_of_signal, within)

    def close(self) -> None:
        """End the pool and its processes."""
        with self._lock:
            self._groups.clear()  # a timer may still be running
        super().close()
        if self._places is not None:
            shutil.rmtree(self._places, ignore_errors=True)
            self._places = None

    def _join(self, job: _Waiting) -> None:
        key = _key(job.config, self.varying_keys)
        group = next((g for g in self._groups if g.key == key and len(g.jobs) < self.pack), None)
        if group is None:
            group = _Group(key)
            self._groups.append(group)
        group.jobs.append(job)

    def _wait_for_more(self) -> None:
        self._arrivals += 1
        timer = threading.Timer(self.batch_timeout, self._ripen, [self._arrivals])
        timer.daemon = True
        timer.start()

    def _ripen(self, arrivals: int) -> None:
        with self._lock:
            if arrivals == self._arrivals:
                for group in self._groups:
                    group.is_ripe = True
                self._start_groups()

    def _start_groups(self) -> None:
        """Start the groups that are full or ripe, the oldest first, as long as slots are free."""
        with self._lock:
            for group in list(self._groups):
                if self._free.empty():
                    return
                if group.is_ripe or len(group.jobs) == self.pack:
                    self._groups.remove(group)
                    slot = self._free.get()
                    try:
                        self._start(group.jobs, slot)
                    except Exception as error:  # a timer's thread would lose it
                        self._free.put(slot)
                        for job in group.jobs:
                            job.result.set_exception(error)

    def _start(self, waiting: Sequence[_Waiting], slot: Slot) -> None:
        from harnest.study.execution.job_process import Job
        from harnest.study.execution.pack import run_pack

        if self._places is None:
            self._places = Path(tempfile.mkdtemp(prefix="harnest-packs-"))
        is_single = len(waiting) == 1
        place = waiting[0].directory if is_single else self._places / str(next(self._numbers))
        application = self._application()
        jobs = [Job.of(application, one.config, slot, one.directory) for one in waiting]
        oom_kills = self._oom_kills.unexplained()
        pool_future = self._schedule(run_pack, jobs, place)
        self._running[place] = pool_future

        def finish(done: "Future[list[bytes]]") -> None:
            del self._running[place]
            try:
                returns = [Job.unpack(one) for one in done.result()]
            except BaseException as error:
                failure = self._as_study_error(error, oom_kills)
                for one in waiting:
                    one.result.set_exception(failure)
            else:
                for one, returned in zip(waiting, returns, strict=True):
                    one.result.set_result(returned)
            self._free.put(slot)
            # Not in the pool's thread, which opening another pool would wait for.
            threading.Thread(target=self._start_groups, daemon=True).start()

        pool_future.add_done_callback(finish)


def _key(config: DictConfig, varying_keys: Sequence[str]) -> str:
    """Return the key of a job's group: its config as JSON without ``hydra`` and these keys."""
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    for path in ("hydra", *varying_keys):
        *parents, last = path.split(".")
        node: Any = plain
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(last, None)
    return json.dumps(plain, sort_keys=True, default=str)


ConfigStore.instance().store(
    group="hydra/launcher",
    name="packed",
    provider="harnest",
    replace=True,
    node={
        "_target_": "harnest.study.execution.packed_launcher.PackedLauncher",
        "pack": 4,
        "batch_timeout": 2.0,
        "varying_keys": [],
        "gpus": "auto",
        "per_gpu": 1,
        "cpu_slots": "auto",
        "timeout": None,
        "preload": [],
    },
)
