"""Backend for launchers that run several single jobs at once: joblib, submitit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn

from harnest.study.execution.managed_task import ManagedTask


class LauncherBackend:
    """Runs single jobs, each by one call of the launcher; safe to call from several threads.

    Args:
        launcher: The launcher, already set up.
        capacity: How many jobs run at once.
    """

    def __init__(self, launcher: Any, capacity: int) -> None:
        launcher.task_function = ManagedTask(launcher.task_function)
        self.launcher = launcher
        self.capacity = capacity

    def run(self, overrides: Sequence[str], number: int, directory: Path) -> JobReturn:
        """Run a job and wait for its return."""
        returned: JobReturn
        (returned,) = self.launcher.launch([list(overrides)], initial_job_idx=number)
        return returned

    def cancel(self, directory: Path, number_of_signal: int) -> None:
        """Do nothing: a job without a process on this host has not started."""
