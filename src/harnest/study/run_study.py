"""Runs a study from its opening to its last report."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from shutil import disk_usage
from typing import Any

from optuna.trial import TrialState

from harnest.core.errors import HarnestError, StudyError
from harnest.core.failure import INTERRUPTED
from harnest.core.output import ignore_broken_pipe
from harnest.study.callback import StudyCallback
from harnest.study.console.terminal import Terminal
from harnest.study.execution.executor import BatchExecutor, Executor
from harnest.study.execution.interrupts import Interrupts
from harnest.study.job_returns import JobReturns
from harnest.study.manager import open_study
from harnest.study.plan import StudyPlan
from harnest.study.trial import STORAGE
from harnest.study.trial_loop import TooManyFailuresError, TrialLoop

_FULL = 2**16  # bytes: a disk with less than that is full


def run_study(
    plan: StudyPlan, executor: Executor | BatchExecutor, callbacks: Sequence[Any], config: str
) -> JobReturns:
    """Run the planned study until its budget is spent.

    Args:
        plan: The study's plan.
        executor: Runs the jobs.
        callbacks: Hydra's callbacks; each `StudyCallback` among them is called.
        config: The sweep's own config as YAML, which is saved in the study's directory.

    Returns:
        What the jobs of this session returned.

    Raises:
        StudyError: The study cannot be continued, or none of its trials finished.
        KeyboardInterrupt: After interrupted trials have been recorded.
    """
    # A new trial's process gets the storage's address from its environment, where the address
    # may hold a password; it is never part of a config.
    os.environ[STORAGE] = plan.storage
    terminal = Terminal()
    followers = [one for one in callbacks if isinstance(one, StudyCallback)]
    listeners: list[StudyCallback] = [terminal, *followers]
    interrupts = Interrupts()
    complete = False
    with ignore_broken_pipe(), _full_disk_as_study_error(plan), ExitStack() as stack:
        with interrupts.held(), interrupts.allowed():
            study = stack.enter_context(open_study(plan, listeners))
            _save_config(config, plan.directory / "multirun.yaml")
        session = TrialLoop(study, executor, interrupts)
        try:
            # Jobs of a launcher that takes batches may print to the same terminal.
            is_ours = not isinstance(executor, BatchExecutor)
            shown = terminal.live(study.trials, executor.capacity) if is_ours else nullcontext()
            with interrupts.held(), shown:
                session.run()
            complete = True
        except TooManyFailuresError as broken:
            terminal.show_failure(broken.first)
            raise
        finally:
            try:
                executor.close()
            finally:  # also for a Ctrl-C that comes in just then
                trials, is_spent = study.snapshot()
                complete = complete and is_spent
                terminal.show([h for one in listeners for h in one.on_study_end(trials, complete)])
    if complete and not any(trial.state is TrialState.COMPLETE for trial in trials):
        told = [trial for trial in trials if trial.message and trial.reason != INTERRUPTED]
        first = told[0] if told else None
        if first is not None:
            terminal.show_failure(first)
        why = "all were pruned" if first is None else first.message
        raise StudyError(f"study {plan.name}: none of its {len(trials)} trials finished; {why}")
    return session.returns


def _save_config(config: str, file: Path) -> None:
    """Write what Hydra's own sweeper writes as well: whole, as other sweepers may read it."""
    if not file.exists() or file.read_text() != config:
        new = file.with_name(f".{file.name}.{os.getpid()}")
        new.write_text(config)
        new.replace(file)


@contextmanager
def _full_disk_as_study_error(plan: StudyPlan) -> Iterator[None]:
    """Say so where the disk is full, whatever was the first that could not be written."""
    try:
        yield
    except Exception as error:
        place = plan.directory.absolute()
        there = next(one for one in (place, *place.parents) if one.exists())
        disk = disk_usage(there)
        is_full = disk.free <= _FULL and disk.total > 0  # /proc has no size at all
        if isinstance(error, HarnestError) or not is_full:
            raise
        raise StudyError(
            f"study {plan.name}: no space left in {plan.directory}; free some "
            "and run the same command again to resume"
        ) from error
