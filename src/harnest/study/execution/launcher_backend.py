"""Runs single jobs through a launcher that accepts concurrent calls: joblib, submitit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn

from harnest.study.execution.managed_task import ManagedTask


class LauncherBackend:
    """Jobs that the launcher itself launches, one each time; it may be called from many threads."""

    def __init__(self, launcher: Any, capacity: int) -> None:
        launcher.task_function = ManagedTask(launcher.task_function)
        self.launcher = launcher
        self.capacity = capacity

    def run(self, overrides: Sequence[str], number: int, directory: Path) -> JobReturn:
        """Run one."""
        returned: JobReturn
        (returned,) = self.launcher.launch([list(overrides)], initial_job_idx=number)
        return returned

    def cancel(self, directory: Path, number_of_signal: int) -> None:
        """One that has no process has not begun, and has none to be signalled."""
