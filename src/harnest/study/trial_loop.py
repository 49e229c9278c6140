"""The trial loop of a sweeper: claims, submits and collects jobs."""

import signal
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobReturn
from optuna.trial import TrialState

from harnest.core.errors import StudyError
from harnest.core.failure import DIVERGED
from harnest.study.events import TrialInfo
from harnest.study.execution.executor import BatchExecutor, Executor
from harnest.study.execution.interrupts import Interrupts
from harnest.study.job_returns import JobReturns
from harnest.study.manager import StudyManager
from harnest.study.outcome import Outcome, failed_outcome, outcome_of
from harnest.study.replicate_results import ReplicateResults, replicates_in
from harnest.study.replicates import Replicate
from harnest.study.trial import NUMBER, REPLICATE, STUDY

_GRACE = 15.0  # seconds that interrupted trials have to stop by themselves


class TooManyFailuresError(StudyError):
    """A study of which too many trials fail; ``first`` is the first of them."""

    def __init__(self, name: str, first: TrialInfo) -> None:
        told = f"trial {first.number}: {first.message}"
        super().__init__(f"study {name} is broken, too many trials fail; {told}")
        self.first = first


@dataclass(frozen=True)
class RunningJob:
    """What a job is: a trial, or one replicate of it."""

    number: int
    index: int = 0
    replicate: Replicate | None = None


class TrialLoop:
    """Starts trials while the study has some and the runner has room; ends each as it comes back.

    The replicates of trials that have begun come before new trials.
    """

    def __init__(
        self, study: StudyManager, executor: Executor | BatchExecutor, interrupts: Interrupts
    ) -> None:
        self._study = study
        self._executor = executor
        self._interrupts = interrupts
        self._running: dict[Future[JobReturn], RunningJob] = {}
        self._groups: dict[int, ReplicateResults] = {}
        self.returns = JobReturns()
        self._is_stopping = False

    def run(self) -> None:
        """Run trials until the budget is spent.

        An interrupt is sent to the running trials, which are awaited, recorded as interrupted, and
        raised as KeyboardInterrupt. A second interrupt does not wait.

        Raises:
            TooManyFailuresError: Too many trials failed.
        """
        try:
            while True:
                # A deferred interrupt is handled once a job runs; no others start then.
                while (
                    len(self._running) < self._executor.capacity
                    and not (self._running and self._interrupts.pending)
                    and self._submit_next()
                ):
                    pass
                if not self._running:
                    return
                with self._interrupts.allowed():
                    if isinstance(self._executor, BatchExecutor):
                        self._executor.launch()
                    ended = wait(self._running, return_when=FIRST_COMPLETED).done
                for done in ended:
                    self._collect(done)
                    del self._running[done]
                broken = self._study.first_failure()
                if broken is not None:
                    raise TooManyFailuresError(self._study.plan.name, broken)
        except BaseException:
            self._stop()
            raise

    def _submit_next(self) -> bool:
        """Submit the next job; False if there is none."""
        for number, group in self._groups.items():
            if group.waiting:
                index = group.waiting.pop(0)
                self._submit(self._study.trial(number), index, group.replicates[index])
                return True
        trial = self._study.claim_next()
        if trial is None:
            return False
        self._submit(trial)
        return True

    def _submit(self, trial: TrialInfo, index: int = 0, replicate: Replicate | None = None) -> None:
        study, number = self._study, trial.number
        name = "" if replicate is None else replicate.name
        environment = {STUDY: study.plan.name, NUMBER: str(number)}
        overrides = study.plan.space.overrides(trial.params)
        if replicate is not None:
            environment[REPLICATE] = name
            overrides += replicate.overrides
        subdir = f"{number}/{name}".rstrip("/")
        overrides.append(f"hydra.sweep.subdir={_quoted(subdir)}")
        try:
            for listener in study.listeners:
                place = study.directory(number, name)
                environment |= (
                    listener.on_trial_start(trial, place)
                    if replicate is None
                    else listener.on_replicate_start(trial, name, place)
                )
            overrides += [
                *self._resume_overrides(trial, name),
                *_environment_overrides(environment),
            ]
            future = self._executor.submit(overrides, number, name, trial.retry_of)
            self._running[future] = RunningJob(number, index, replicate)
        except BaseException as error:
            self._groups.pop(number, None)  # it ends here, once
            if not self._interrupts.pending:
                study.finish(number, failed_outcome(error))
                raise
            # Ctrl-C ends the process that jobs are forked from too, and what waits for it breaks.
            study.finish(number, failed_outcome(KeyboardInterrupt()))
            raise KeyboardInterrupt from error

    def _resume_overrides(self, trial: TrialInfo, replicate: str) -> list[str]:
        """Overrides that let a retry start from the latest checkpoint of its earlier tries.

        Checkpoints of a diverged try are not used: they lead to the same divergence.
        """
        found: dict[str, Path] = {}
        number = trial.retry_of
        while number is not None:
            before = self._study.trial(number)
            if before.reason == DIVERGED:
                break
            directory = self._study.directory(number, replicate).absolute()
            for key, name in self._study.plan.resume_from.items():
                if (directory / name).is_file():
                    found.setdefault(key, directory / name)
            number = before.retry_of
        return [f"{key}={_quoted(str(file))}" for key, file in found.items()]

    def _collect(self, done: "Future[JobReturn]") -> None:
        turn = self._running[done]
        if turn.replicate is None and done.done():
            with suppress(Exception):  # what cannot be pickled is only missed by a caller
                self.returns.keep(turn.number, done)
        if turn.replicate is not None:
            self._collect_replicate(turn, turn.replicate, self._outcome(done))
        elif replicates := replicates_in(done):
            self._groups[turn.number] = ReplicateResults(replicates)
            self._study.start_replicates(turn.number, len(replicates))
        else:
            pruned = self._study.is_pruned(turn.number)
            self._study.finish(turn.number, self._outcome(done, pruned))

    def _collect_replicate(self, turn: RunningJob, replicate: Replicate, outcome: Outcome) -> None:
        study, number = self._study, turn.number
        trial, place = study.trial(number), study.directory(number, replicate.name)
        for listener in study.listeners:
            listener.on_replicate_end(trial, replicate.name, place, outcome)
        group = self._groups.get(number)
        if group is None:  # the trial has ended without it
            return
        if outcome.state is TrialState.COMPLETE:
            group.scores[turn.index] = outcome.values
            study.report(number, turn.index, outcome.values)
            if group.is_complete:
                outcome = group.outcome()
            elif study.should_prune(number, turn.index):
                outcome = Outcome(TrialState.PRUNED)
            else:
                return
        del self._groups[number]
        study.finish(number, outcome, [one.name for one in group.replicates])
        self._executor.interrupt(signal.SIGTERM, study.directory(number))

    def _outcome(self, done: "Future[JobReturn]", pruned: bool = False) -> Outcome:
        if not done.done():
            return failed_outcome(KeyboardInterrupt())
        error = done.exception()
        if error is not None:
            outcome = failed_outcome(error)
        else:
            objectives = len(self._study.plan.directions)
            outcome = outcome_of(done.result(), objectives, pruned)
        was_stopped = self._is_stopping and outcome.state is TrialState.FAIL
        return failed_outcome(KeyboardInterrupt()) if was_stopped else outcome

    def _stop(self) -> None:
        """End all running trials; those that do not finish in time are recorded as interrupted."""
        self._is_stopping = True
        self._executor.interrupt(signal.SIGTERM)
        with suppress(KeyboardInterrupt), self._interrupts.allowed():
            wait(self._running, timeout=_GRACE)
        self._executor.interrupt(signal.SIGKILL)
        for future in list(self._running):
            self._collect(future)
        for number in list(self._groups):
            self._study.finish(number, failed_outcome(KeyboardInterrupt()))


def _environment_overrides(variables: Mapping[str, str]) -> list[str]:
    """Overrides that set environment variables of one job, wherever it runs."""
    return [f"++hydra.job.env_set.{key}={_quoted(text)}" for key, text in variables.items()]


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()
