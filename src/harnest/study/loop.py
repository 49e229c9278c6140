"""The study's loop: slots are filled as they fall free, until the budget is spent."""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from shutil import disk_usage
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobReturn
from optuna.trial import TrialState

from harnest.errors import HarnestError, StudyError
from harnest.study.engine import OpenStudy, opened
from harnest.study.interrupts import Interrupts
from harnest.study.listener import StudyListener, TrialFacts
from harnest.study.outcome import Outcome, failed, outcome_of
from harnest.study.plan import Plan
from harnest.study.runner import BatchRunner, Runner
from harnest.study.terminal import Terminal
from harnest.study.trial import NUMBER, STORAGE, STUDY

_GRACE = 15.0  # seconds that interrupted trials have to stop by themselves
_FULL = 2**16  # bytes: a disk with less than that is full

Running = dict["Future[JobReturn]", int]


def run_study(plan: Plan, runner: Runner | BatchRunner, callbacks: Sequence[Any]) -> None:
    """Run the planned study until its budget is spent.

    ``callbacks`` with a ``StudyListener``'s methods hear of it. Raises `StudyError` where it
    cannot be gone on with, or where none of its trials finished; KeyboardInterrupt once
    interrupted trials have been recorded.
    """
    # A new trial's process gets the storage's address from its environment, where the address
    # may hold a password; it is never part of a config.
    os.environ[STORAGE] = plan.storage
    terminal = Terminal()
    recorders = [one for one in callbacks if hasattr(one, "on_study_start")]
    listeners: list[StudyListener] = [terminal, *recorders]
    interrupts = Interrupts()
    complete = False
    with _full_disk_told(plan), opened(plan, listeners) as study:
        try:
            with interrupts.held():
                work_off(study, runner, interrupts)
            complete = study.is_complete()
        finally:
            runner.close()
            trials = study.trials()
            terminal.show([h for one in listeners for h in one.on_study_end(trials, complete)])
    if complete and not any(trial.state is TrialState.COMPLETE for trial in trials):
        first = next((trial.message for trial in trials if trial.message), "all were pruned")
        raise StudyError(f"study {plan.name}: none of its {len(trials)} trials finished; {first}")


@contextmanager
def _full_disk_told(plan: Plan) -> Iterator[None]:
    """Say so where the disk is full, whatever was the first that could not be written."""
    try:
        yield
    except Exception as error:
        if isinstance(error, HarnestError) or disk_usage(plan.directory).free > _FULL:
            raise
        raise StudyError(
            f"study {plan.name}: there is no space left in {plan.directory}; once there is, the "
            "same command goes on"
        ) from error


def work_off(study: OpenStudy, runner: Runner | BatchRunner, interrupts: Interrupts) -> None:
    """Start trials while the study has some and the runner has room; end each as it comes back.

    An interrupt asks the running trials to stop, waits for them, records them as interrupted
    and goes on as KeyboardInterrupt; a second one does not wait.
    """
    running: Running = {}
    try:
        while True:
            while len(running) < runner.capacity and _start(study, runner, running):
                pass
            if not running:
                return
            with interrupts.allowed():
                if isinstance(runner, BatchRunner):
                    runner.launch()
                ended = wait(running, return_when=FIRST_COMPLETED).done
            for done in ended:
                number = running[done]
                study.end(number, _outcome(study, number, done))
                del running[done]
            broken = study.broken()
            if broken is not None:
                raise StudyError(
                    f"study {study.plan.name} is broken, too many trials fail; trial "
                    f"{broken.number}: {broken.message}"
                )
    except BaseException:
        _stop(study, runner, running, interrupts)
        raise


def _start(study: OpenStudy, runner: Runner | BatchRunner, running: Running) -> bool:
    """Start the next trial; False where there is none."""
    trial = study.next()
    if trial is None:
        return False
    environment = {STUDY: study.plan.name, NUMBER: str(trial.number)}
    try:
        for listener in study.listeners:
            environment |= listener.on_trial_start(trial, study.directory(trial.number))
        overrides = [
            *study.plan.space.overrides(trial.params),
            *_go_on(study, trial),
            *_set(environment),
        ]
        running[runner.submit(overrides, trial.number, trial.retry_of)] = trial.number
    except BaseException as error:
        study.end(trial.number, failed(error))
        raise
    return True


def _outcome(study: OpenStudy, number: int, done: "Future[JobReturn]") -> Outcome:
    error = done.exception()
    if error is not None:
        return failed(error)
    return outcome_of(done.result(), len(study.plan.directions), study.is_pruned(number))


def _stop(
    study: OpenStudy, runner: Runner | BatchRunner, running: Running, interrupts: Interrupts
) -> None:
    """Let no trial outlive the study's loop; what did not come to its end was interrupted."""
    runner.interrupt(signal.SIGTERM)
    try:
        with interrupts.allowed():
            late = wait(running, timeout=_GRACE).not_done
    except KeyboardInterrupt:
        late = {future for future in running if not future.done()}
    runner.interrupt(signal.SIGKILL)
    for future, number in running.items():
        outcome = failed(KeyboardInterrupt())
        if future not in late:
            came = _outcome(study, number, future)
            outcome = outcome if came.state is TrialState.FAIL else came
        study.end(number, outcome)


def _go_on(study: OpenStudy, trial: TrialFacts) -> list[str]:
    """Overrides that let a second try begin where the first one was."""
    if trial.retry_of is None:
        return []
    first = study.directory(trial.retry_of).absolute()
    files = {key: first / name for key, name in study.plan.resume_from.items()}
    return [f"{key}={_quoted(str(file))}" for key, file in files.items() if file.is_file()]


def _set(variables: Mapping[str, str]) -> list[str]:
    """Overrides that set environment variables of one job, wherever it runs."""
    return [f"++hydra.job.env_set.{key}={_quoted(text)}" for key, text in variables.items()]


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()
