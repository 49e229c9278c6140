"""Backend that runs single jobs in SLURM's queue, through submitit."""

import copy
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn

from harnest.core.errors import StudyError
from harnest.core.failure import TrialInterruptedError, TrialTimeoutError
from harnest.study.execution.managed_task import ManagedTask
from harnest.study.execution.slot import is_marked

_DELAY = 30  # seconds, at most, between two queries of the states of all jobs


class SlurmBackend:
    """Runs jobs in SLURM's queue, each named after its study and trial.

    SLURM sends SIGTERM to a job that is cancelled or preempted, and submitit's own signal to one
    that is about to reach its time limit. The trial then ends as interrupted, and is retried, or as
    timed out. Requeueing by SLURM is disabled, because it would reuse the trial's number.

    Args:
        launcher: Hydra's submitit launcher, already set up.
        capacity: How many jobs are in the queue at once.

    Raises:
        StudyError: SLURM's commands are not installed.
    """

    def __init__(self, launcher: Any, capacity: int) -> None:
        missing = [name for name in ("sbatch", "srun", "sacct") if shutil.which(name) is None]
        if missing:
            raise StudyError(
                f"{missing[0]} not found: run the sweep on a host that can submit SLURM jobs, or "
                "choose hydra/launcher=submitit_local"
            )
        from submitit.slurm.slurm import SlurmJob, SlurmJobEnvironment

        SlurmJob.watcher = _watcher()
        time_is_up = signal.Signals[f"SIG{SlurmJobEnvironment.USR_SIG}"]
        ends: dict[int, type[StudyError]] = {
            signal.SIGTERM: TrialInterruptedError,
            time_is_up: TrialTimeoutError,
        }
        launcher.task_function = ManagedTask(launcher.task_function, ends)
        launcher.params["additional_parameters"] = {
            "no-requeue": True,
            **(launcher.params.get("additional_parameters") or {}),
        }
        self._launcher = launcher
        self.capacity = capacity

    def run(self, overrides: Sequence[str], number: int, directory: Path) -> JobReturn:
        """Submit a job to the queue and wait for its return."""
        launcher = copy.copy(self._launcher)
        name = "-".join(directory.parts[directory.parts.index(str(number)) - 1 :])
        folder = str(self._folder(directory) / "%j")
        launcher.params = launcher.params | {"name": name, "submitit_folder": folder}
        returned: JobReturn
        (returned,) = launcher.launch([list(overrides)], initial_job_idx=number)
        return returned

    def cancel(self, directory: Path, number_of_signal: int) -> None:
        """Signal a job through SLURM, on any host; SIGKILL, or a pending job, cancels it."""
        jobs = [path.name for path in self._folder(directory).glob("[0-9]*")]
        is_asked = number_of_signal != signal.SIGKILL and is_marked(directory)
        how = [f"--signal={signal.Signals(number_of_signal).name[3:]}"] if is_asked else []
        for job in jobs:
            subprocess.run(["scancel", *how, job], check=False, capture_output=True)  # noqa: S603, S607

    def _folder(self, directory: Path) -> Path:
        """Return submitit's folder: the pickled job, and output from before the trial starts."""
        return directory / ".submitit"


def _watcher() -> Any:
    """Return a watcher of job states for which a preempted job is done: it is not requeued."""
    from submitit.slurm.slurm import SlurmInfoWatcher

    class Watcher(SlurmInfoWatcher):
        def is_done(self, job_id: str, mode: str = "standard") -> bool:
            state = self.get_state(job_id, mode=mode)
            return state == "PREEMPTED" or bool(super().is_done(job_id, mode))

    return Watcher(delay_s=_DELAY)
