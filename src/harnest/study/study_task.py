"""A Hydra task function with the checks that its study runs."""

from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import TYPE_CHECKING, Any

from hydra.types import TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from harnest.study.callback import StudyCallback

#: Raises an error for a config that cannot be used.
Check = Callable[[DictConfig], None]


class StudyTask:
    """Wraps a task function for ``hydra.main``.

    Args:
        run: The task function: a config in, a score out.
        check: Raises an error for a config that no trial can use. A study calls it for every
            choice, and both ends of every range, before its first trial.
        check_unsearched: The same, for a study in which nothing is searched.
        synchronizes: Whether jobs that share a process call `harnest.study.synchronize`, as
            ``hydra/launcher=packed`` needs.
        callbacks: Called for the study's events, beside those of ``hydra.callbacks``.

    Example:
        >>> application = StudyTask(lambda cfg: cfg.x**2, synchronizes=False)
        >>> application(DictConfig({"x": 3}))
        9
    """

    def __init__(
        self,
        run: TaskFunction,
        *,
        check: Check | None = None,
        check_unsearched: Check | None = None,
        synchronizes: bool = False,
        callbacks: Sequence["StudyCallback"] = (),
    ) -> None:
        update_wrapper(self, run)  # Hydra names the job after the function's module
        self.run = run
        self.check = check
        self.check_unsearched = check_unsearched
        self.synchronizes = synchronizes
        self.callbacks = tuple(callbacks)

    def __call__(self, cfg: DictConfig) -> Any:
        """Run the task function."""
        return self.run(cfg)

    def __reduce__(self) -> tuple[Any, ...]:
        # The process of a job needs the function alone.
        return StudyTask, (self.run,)

    def with_run(self, run: TaskFunction) -> "StudyTask":
        """The same checks and callbacks for another function."""
        return StudyTask(
            run,
            check=self.check,
            check_unsearched=self.check_unsearched,
            synchronizes=self.synchronizes,
            callbacks=self.callbacks,
        )

    def with_callbacks(self, *callbacks: "StudyCallback") -> "StudyTask":
        """The same task with further callbacks."""
        made = self.with_run(self.run)
        made.callbacks = (*self.callbacks, *callbacks)
        return made


def as_study_task(task: TaskFunction) -> StudyTask:
    """The task itself, where it is a `StudyTask`, else one without checks."""
    return task if isinstance(task, StudyTask) else StudyTask(task)
