"""Runs single jobs in ray workers, on this machine or on a cluster."""

import logging
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf, open_dict

from harnest.core.errors import StudyError
from harnest.study.execution.managed_task import ManagedTask

if TYPE_CHECKING:
    from harnest.study.execution.job_process import Application

log = logging.getLogger(__name__)

_ATTEMPTS = 4  # to start ray
_LEAST = 1e-4  # the smallest share that ray counts in


class RayBackend:
    """Runs jobs as ray tasks with the resources of ``hydra.launcher.ray.remote``.

    Hydra's launcher would use the folder and environment in which the cluster was started, and
    could not cancel jobs on other hosts. ``at_once`` limits concurrent jobs; None: by resources
    only.
    """

    def __init__(self, launcher: Any, at_once: int | None) -> None:
        self._launcher = launcher
        self._at_once = at_once
        options: Any = OmegaConf.to_container(launcher.ray_cfg, resolve=True)
        self._init = options["init"] or {}
        # To run a job again is the study's business: ray would do it under the same number.
        self._remote = {"max_retries": 0} | (options["remote"] or {})
        self._application: Application | None = None  # until ray has been started
        self._running: dict[Path, Any] = {}

    @property
    def capacity(self) -> int:
        """How many jobs fit on the cluster's current hosts, which may change.

        Raises:
            StudyError: No host has the resources of one job, or ray cannot be started.
        """
        self._start()
        if self._at_once is not None:
            return self._at_once
        import ray

        nodes: Any = ray.nodes
        hosts = [node["Resources"] for node in nodes() if node["Alive"]]
        room = sum(_room(host, self._needs()) for host in hosts)
        if room == 0:
            needs = ", ".join(f"{name} {need:g}" for name, need in self._needs().items())
            raise StudyError(
                f"hydra.launcher.ray.remote: a trial needs {needs}, and no ray host has that"
            )
        return room

    def run(self, overrides: Sequence[str], number: int, directory: Path) -> JobReturn:
        """Run a job and wait for its return; ray decides where and when it runs."""
        import ray

        launcher = self._launcher
        loader = launcher.hydra_context.config_loader
        config = loader.load_sweep_config(launcher.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = str(number)
            config.hydra.job.num = number
        assert self._application is not None, "jobs come after the question for room"
        job = ray.remote(**self._remote)(_perform).remote(self._application, config)
        self._running[directory] = job
        try:
            returned: JobReturn = ray.get(job)
        finally:
            del self._running[directory]
        return returned

    def cancel(self, directory: Path, number_of_signal: int) -> None:
        """Cancel a job through ray, on any host; by force if the signal is SIGKILL."""
        import ray

        job = self._running.get(directory)
        if job is not None:
            ray.cancel(job, force=number_of_signal == signal.SIGKILL)

    def _needs(self) -> dict[str, float]:
        shares = {"CPU": self._remote.get("num_cpus"), "GPU": self._remote.get("num_gpus")}
        shares["CPU"] = 1 if shares["CPU"] is None else shares["CPU"]
        wanted = shares | (self._remote.get("resources") or {})
        return {name: float(need) for name, need in wanted.items() if need}

    def _start(self) -> None:
        """Start ray or connect to a cluster, if not done yet.

        Runs in the thread of the study's loop, because ray ends with the thread that starts it.
        """
        if self._application is not None:
            return
        # Nothing leaves the machine unless asked for; a ray of our own serves this machine alone.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        from harnest.study.execution.job_process import Application

        if not ray.is_initialized():
            before = signal.getsignal(signal.SIGTERM)
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    ray.init(**self._init)
                    break
                except ConnectionError as error:
                    told = str(error).strip().splitlines()[0]
                    raise StudyError(f"hydra.launcher.ray.init: {told}") from error
                except Exception as error:
                    # ray allows 30 s for its start, which is too short on a busy machine.
                    if "timed out during startup" not in str(error) or attempt == _ATTEMPTS:
                        raise
                    log.warning("ray timed out during startup: attempt %d", attempt + 1)
            signal.signal(signal.SIGTERM, before)  # ray takes it, and it is the loop's
        task = ManagedTask(self._launcher.task_function)
        self._application = Application.of(self._launcher.hydra_context, task)


def _room(host: dict[str, float], needs: dict[str, float]) -> int:
    """Return how many jobs fit on a host; a job cannot span hosts."""
    return int(min((host.get(name, 0) + _LEAST / 2) / need for name, need in needs.items()))


def _perform(application: "Application", config: DictConfig) -> JobReturn:
    """Run a job in a ray worker."""
    from harnest.study.execution.job_process import restore_singletons, run_task

    for name, value in application.environment.items():
        os.environ.setdefault(name, value)  # keep ray's variables for this host and its GPUs
    Path(application.folder).mkdir(parents=True, exist_ok=True)
    os.chdir(application.folder)
    context, task, state = cloudpickle.loads(application.packed)
    restore_singletons(state)
    return run_task(context, task, config)
