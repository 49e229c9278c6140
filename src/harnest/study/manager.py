"""Manages an open study: claims trials within the budget, and finishes them."""

import shutil
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from harnest.core.command_line import current_command
from harnest.core.errors import StudyError
from harnest.core.failure import INTERRUPTED, Failure
from harnest.core.record_format import RECORD_FORMAT
from harnest.core.secrets import redact
from harnest.study.budget import budget_trials, params_of, retried_numbers, times_failed
from harnest.study.callback import StudyCallback
from harnest.study.events import (
    DETAILS,
    DEVIATION,
    MESSAGE,
    REASON,
    REPLICATES,
    RETRY_OF,
    StudyInfo,
    TrialInfo,
    reason_of,
)
from harnest.study.initial_trials import initial_trials
from harnest.study.outcome import Outcome, apply_constraints
from harnest.study.plan import StudyPlan
from harnest.study.ranking import best_numbers
from harnest.study.space.samplers import is_seeded, make_pruner, make_sampler
from harnest.study.space.search_space import Point
from harnest.study.storage.lease import FILE, SWEEPER, Lease, hold_lease
from harnest.study.storage.lock import LockLostError, storage_lock
from harnest.study.storage.optuna_storage import open_storage
from harnest.study.storage.retry import storage_retry
from harnest.study.trial import PRUNED_AT

#: Trials that have to have ended before a study can be called broken.
_ENOUGH = 5

#: Characters of an error that are kept with its trial: MySQL's texts hold 65,535 bytes of JSON.
_LONGEST = 10_000

T = TypeVar("T")

_IDENTITY, _SPACE, _FORMAT = "identity", "space", "harnest.format"


@contextmanager
def open_study(plan: StudyPlan, listeners: Sequence[StudyCallback]) -> Iterator["StudyManager"]:
    """Open or create the planned study, and call ``on_study_start`` of the listeners.

    Running trials of dead sweepers fail; interrupted trials are enqueued again.

    Raises:
        StudyError: The study cannot be continued. Nothing is left on disk then.
    """
    is_new = not plan.directory.exists()
    plan.directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            storage = open_storage(plan.storage)
            lease = stack.enter_context(hold_lease(plan.storage, plan.directory))
            study = StudyManager(plan, storage, lease, listeners)
        except BaseException:
            stack.close()  # what remains belongs to a sweeper that has opened the study meanwhile
            theirs = [*plan.directory.glob("[0-9]*"), *plan.directory.glob(FILE.format("*"))]
            if is_new and not theirs:
                shutil.rmtree(plan.directory)
            raise
        yield study


class StudyManager:
    """One study, as this sweeper process works on it."""

    def __init__(
        self,
        plan: StudyPlan,
        storage: BaseStorage,
        lease: Lease,
        listeners: Sequence[StudyCallback],
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.plan = plan
        self.listeners = listeners
        self._storage = storage
        self._lease = lease
        self._opened = time.monotonic()
        self._lock = storage_lock(plan.storage, plan.name)
        self._taken: set[int] = set()
        self._ended: list[TrialInfo] = []
        self._locked(self._open)

    def claim_next(self) -> TrialInfo | None:
        """Take the next trial, or None where the budget is spent."""
        number = self._locked(self._claim)
        if number is None:
            return None
        self._taken.add(number)
        return self.trial(number)

    def finish(self, number: int, outcome: Outcome, replicates: Sequence[str] = ()) -> None:
        """Record the end of a trial in Optuna, then call ``on_trial_end`` of the listeners.

        The first recorded end counts. Constraints apply to what its ``replicates`` measured, or its
        job.
        """
        trial = self._frozen_trial(number)
        if not trial.state.is_finished():
            self._tell(
                trial, apply_constraints(self.plan.constraints, trial, outcome, replicates or [""])
            )
        self._lease.release(trial._trial_id)
        ended = self.trial(number)
        if ended.reason != INTERRUPTED:
            self._ended.append(ended)
        for listener in self.listeners:
            listener.on_trial_end(ended, self.directory(number))

    def start_replicates(self, number: int, replicates: int) -> None:
        """Record the number of a trial's replicates, and call the listeners."""
        with suppress(UpdateFinishedTrialError):  # someone took this sweeper for dead
            self._trial(number).set_user_attr(REPLICATES, replicates)
        for listener in self.listeners:
            listener.on_replicates_created(self.trial(number))

    def report(self, number: int, replicate: int, values: Sequence[float]) -> None:
        """Take note of a replicate's score; with several objectives Optuna takes none."""
        if len(self.plan.directions) == 1:
            with suppress(UpdateFinishedTrialError):  # someone took this sweeper for dead
                self._trial(number).report(values[0], replicate)

    def should_prune(self, number: int, replicate: int) -> bool:
        """Whether the pruner gives a trial up for its replicates' scores so far."""
        if len(self.plan.directions) > 1 or not self._trial(number).should_prune():
            return False
        with suppress(UpdateFinishedTrialError):  # as above
            self._trial(number).set_user_attr(PRUNED_AT, replicate)
        return True

    def _trial(self, number: int) -> optuna.Trial:
        return optuna.Trial(self._study, self._frozen_trial(number)._trial_id)

    def directory(self, number: int, replicate: str = "") -> Path:
        """Where a trial writes, or one of its replicates."""
        return self.plan.directory / str(number) / replicate

    def trial(self, number: int) -> TrialInfo:
        """What is known of a trial now."""
        return TrialInfo.of(self._frozen_trial(number))

    def trials(self) -> list[TrialInfo]:
        """What is known of all trials now."""
        return self._infos(self._trials())

    def snapshot(self) -> tuple[list[TrialInfo], bool]:
        """What is known of all trials now, and whether the study is complete.

        That is where its budget is spent, and no other sweeper is still at it. Both are of one
        moment: other sweepers' trials end at any time.
        """
        trials = self._trials()
        is_busy = any(trial.state is TrialState.RUNNING for trial in trials)
        return self._infos(trials), not is_busy and self._is_spent(trials)

    def _infos(self, trials: Sequence[FrozenTrial]) -> list[TrialInfo]:
        infos = [TrialInfo.of(trial) for trial in trials]
        best = best_numbers(infos, self.plan.directions)
        return [replace(one, is_best=True) if one.number in best else one for one in infos]

    def is_pruned(self, number: int) -> bool:
        """Whether the pruner has stopped the trial."""
        return PRUNED_AT in self._frozen_trial(number).user_attrs

    def first_failure(self) -> TrialInfo | None:
        """The first failed trial of this session, once more of them failed than may."""
        bad = [trial for trial in self._ended if trial.state is TrialState.FAIL]
        is_broken = len(bad) > self.plan.max_failure_rate * len(self._ended)
        return bad[0] if is_broken and len(self._ended) >= _ENOUGH else None

    def _is_over(self) -> bool:
        timeout = self.plan.timeout
        return timeout is not None and time.monotonic() - self._opened > timeout

    def _locked(self, work: Callable[[], T]) -> T:
        """Do ``work`` while no other sweeper of this study does any, wherever it runs.

        It is done again where the lock was lost meanwhile, so it has to bear that.
        """
        retry = storage_retry(self.plan.storage)
        while True:
            with suppress(LockLostError), ExitStack() as stack:
                retry(lambda: stack.enter_context(self._lock()))
                return work()

    def _open(self) -> None:
        """Create the study, or load it; one without an identity was not created completely."""
        plan = self.plan
        if plan.name not in optuna.get_all_study_names(self._storage):
            _check_leftovers(plan.directory)
        self._study = optuna.create_study(
            study_name=plan.name,
            storage=self._storage,
            directions=[StudyDirection[one.upper()] for one in plan.directions],
            # It keeps what it has found out of earlier trials, as Optuna's samplers do.
            sampler=make_sampler(plan.sampler),
            pruner=make_pruner(plan.pruner),
            load_if_exists=True,
        )
        is_whole = _IDENTITY in self._study.user_attrs
        if is_whole:
            _check_format(self._study)
        else:
            self._study.set_user_attr(_FORMAT, RECORD_FORMAT)
            self._study.set_user_attr(_SPACE, _identifying(plan))
        _check_same_search(self._study, plan)
        self._name_objectives()
        self._enqueue([] if is_whole else initial_trials(plan, self._storage))
        if not is_whole:
            self._study.set_user_attr(_IDENTITY, uuid.uuid4().hex)
        self._requeue(self._trials())
        self._fail_stale(self._trials())
        for listener in self.listeners:
            listener.on_study_start(self._info(), self.trials())

    def _name_objectives(self) -> None:
        """Give the objectives their names, also in a study that was made without any."""
        names = list(self.plan.metric_names)
        if names and self._study.metric_names != names:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                self._study.set_metric_names(names)

    def _claim(self) -> int | None:
        """Claim the next trial for this sweeper; its number, or None if there is none.

        Trials are read again only after a change, because the database may be slow.
        """
        trials = self._trials()
        if self._requeue(trials):
            trials = self._trials()
        is_spent = self._is_spent(trials)
        if is_spent and self._reclaim(trials):
            trials = self._trials()
        if self._enqueue_retries(trials):  # also what another sweeper was interrupted in
            trials = self._trials()
        # Requeueing can free budget but never consumes it.
        if self._is_over() or (is_spent and self._is_spent(trials)):
            return None
        trial = self._ask(trials)
        before = trial.user_attrs.get(SWEEPER)
        self._lease.acquire(trial._trial_id)
        with suppress(UpdateFinishedTrialError):  # so someone else had it
            self.plan.space.draw(trial)
            # The server, and the lock, may have been away: then others take it for put back.
            if self._frozen_trial(trial.number).user_attrs.get(SWEEPER) == before:
                trial.set_user_attr(SWEEPER, self._lease.token)
                return trial.number
        self._lease.release(trial._trial_id)
        raise LockLostError

    def _ask(self, trials: Sequence[FrozenTrial]) -> optuna.Trial:
        """Start the next trial: a retry, else an enqueued one, else a new one.

        Optuna's ``ask`` would take enqueued trials by number, so that retries wait behind the rest.
        """
        waiting = [trial for trial in trials if trial.state is TrialState.WAITING]
        first = min(
            waiting, key=lambda one: (RETRY_OF not in one.user_attrs, one.number), default=None
        )
        if is_seeded(self.plan.sampler):
            number = len(trials) if first is None else first.number
            self._study.sampler = make_sampler(self.plan.sampler, number)
        if first is None:
            return self._study.ask()
        self._study._thread_local.cached_all_trials = None  # as in `ask`
        if not self._storage.set_trial_state_values(first._trial_id, TrialState.RUNNING):
            raise LockLostError  # someone else has it
        return optuna.Trial(self._study, first._trial_id)

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _frozen_trial(self, number: int) -> FrozenTrial:
        study = self._study._study_id
        return self._storage.get_trial(
            self._storage.get_trial_id_from_study_id_trial_number(study, number)
        )

    def _tell(self, trial: FrozenTrial, outcome: Outcome) -> None:
        with suppress(UpdateFinishedTrialError):  # someone took this sweeper for dead
            if outcome.failure is not None:
                for key, value in (
                    (REASON, outcome.failure.reason),
                    (MESSAGE, outcome.failure.message[:_LONGEST]),
                    (DETAILS, outcome.failure.details and outcome.failure.details[-_LONGEST:]),
                ):
                    self._storage.set_trial_user_attr(trial._trial_id, key, value)
            for name, violation in outcome.violations.items():
                self._trial(trial.number).set_constraint(name, violation)
            if outcome.deviation is not None:
                self._storage.set_trial_user_attr(trial._trial_id, DEVIATION, outcome.deviation)
            values = list(outcome.values) or None
            self._study.tell(trial.number, values, state=outcome.state, skip_if_finished=True)

    def _enqueue(self, first: Sequence[Mapping[str, Any]]) -> None:
        """Line up what is to be tried ``first``; in a grid, its points that agree with it.

        Then, in a grid, all others that no trial has yet: the study may have been sampled so far.
        """
        if self.plan.is_grid:
            points = list(self.plan.space.grid())
            agreeing = [p for wanted in first for p in points if wanted.items() <= p.items()]
            first = [*agreeing, *points]
        # Optuna's own look for what is there takes seeds as near as 20240101 and 20240102 for one.
        there = {self._point(trial) for trial in self._trials()}
        for params in map(self.plan.space.named, first):
            point = self.plan.space.point(params)
            if point not in there:
                there.add(point)
                self._study.enqueue_trial(params)

    def _point(self, trial: FrozenTrial) -> Point:
        return self.plan.space.point(params_of(trial))

    def _is_spent(self, trials: Sequence[FrozenTrial]) -> bool:
        spent = budget_trials(trials)
        return len(spent) >= self._budget(spent)

    def _budget(self, spent: Sequence[FrozenTrial]) -> int:
        """Trials in all; in a grid, more by those that a sampler has spent on points it had."""
        if not self.plan.is_grid:
            return self.plan.budget
        return self.plan.budget + len(spent) - len(set(map(self._point, spent)))

    def _requeue(self, trials: Sequence[FrozenTrial]) -> bool:
        """Requeue trials that were claimed but never started; returns whether there were any.

        Their sweeper died, or lost the storage or the lock, before it recorded its lease.
        """
        lost = [
            trial for trial in trials if trial.state is TrialState.RUNNING and self._is_lost(trial)
        ]
        for trial in lost:
            self._lease.release(trial._trial_id)
            self._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
        return bool(lost)

    def _is_lost(self, trial: FrozenTrial) -> bool:
        lease = trial.user_attrs.get(SWEEPER)
        is_own = lease == self._lease.token
        return lease is None or (is_own and trial.number not in self._taken)

    def _fail_stale(self, trials: Sequence[FrozenTrial]) -> list[int]:
        """End the trials of dead sweepers; their numbers."""
        running = [trial for trial in trials if trial.state is TrialState.RUNNING]
        orphans = self._lease.stale_trials(self._study._study_id, running)
        died = Failure(INTERRUPTED, "its sweeper process died")
        for trial in orphans:
            self._tell(trial, Outcome(TrialState.FAIL, failure=died))
        return [trial.number for trial in orphans]

    def _reclaim(self, trials: Sequence[FrozenTrial]) -> bool:
        """Fail stale trials during a session, and call the listeners; whether there were any."""
        numbers = self._fail_stale(trials)
        for number in numbers:
            for listener in self.listeners:
                listener.on_trial_end(self.trial(number), self.directory(number))
        return bool(numbers)

    def _enqueue_retries(self, trials: Sequence[FrozenTrial]) -> bool:
        """Let every interrupted trial be run once more, and failed ones as often as planned.

        Returns whether there was any.
        """
        again = retried_numbers(trials)
        before = len(again)
        for trial in trials:
            reason = reason_of(trial)
            if reason is None or trial.number in again:
                continue
            retries = self.plan.retry.get(reason, 0)
            if reason == INTERRUPTED or times_failed(trial, trials) <= retries:
                self._study.enqueue_trial(params_of(trial), user_attrs={RETRY_OF: trial.number})
                again.add(trial.number)
        return len(again) > before

    def _info(self) -> StudyInfo:
        plan = self.plan
        sampler = type(self._study.sampler).__name__
        return StudyInfo(
            name=plan.name,
            identity=self._study.user_attrs[_IDENTITY],
            directory=plan.directory,
            directions=tuple(plan.directions),
            is_grid=plan.is_grid,
            sampler="every combination" if plan.is_grid else sampler,
            pruner=type(self._study.pruner).__name__,
            budget=self._budget(budget_trials(self._trials())),
            space=plan.space.described(),
            fixed=plan.space.fixed,
            command=redact(current_command()),
            metric_names=tuple(self._study.metric_names or ()),
        )


def _identifying(plan: StudyPlan) -> list[str]:
    """What makes two commands the same study: search, fixed overrides, directions."""
    limits = [f"{one.name} {'<=' if one.at_most else '>='} {one.limit}" for one in plan.constraints]
    return [*plan.space.lines, *limits, f"to {', '.join(plan.directions)}"]


def _check_leftovers(directory: Path) -> None:
    left = sorted(path.name for path in directory.iterdir() if path.name.isdigit())
    if left:
        raise StudyError(
            f"{directory} holds trials ({', '.join(left[:3])}, ...) of a study that its storage "
            "does not know; move them away or choose another hydra.sweeper.study="
        )


def _check_format(study: optuna.Study) -> None:
    found = study.user_attrs.get(_FORMAT, 1)
    if found != RECORD_FORMAT:
        raise StudyError(
            f"study {study.study_name} was made by another version of harnest (its record has "
            f"format {found}, this version reads {RECORD_FORMAT}): choose another name with "
            "hydra.sweeper.study="
        )


def _check_same_search(study: optuna.Study, plan: StudyPlan) -> None:
    was, now = study.user_attrs.get(_SPACE, []), _identifying(plan)
    if was != now:
        gone = "; ".join(line for line in was if line not in now) or "nothing"
        new = "; ".join(line for line in now if line not in was) or "nothing"
        raise StudyError(
            f"study {plan.name} searched something else: it had {gone}, and now there is {new}; "
            "choose another name with hydra.sweeper.study="
        )
