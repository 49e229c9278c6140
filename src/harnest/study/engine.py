"""An open study: what is left of its budget is handed out, and every trial gets its end."""

import json
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from harnest.errors import StudyError
from harnest.failure import INTERRUPTED, Failure
from harnest.programs import this_command
from harnest.study.listener import (
    DETAILS,
    MESSAGE,
    REASON,
    RETRY_OF,
    StudyFacts,
    StudyListener,
    TrialFacts,
)
from harnest.study.outcome import Outcome
from harnest.study.ownership import OWNER, is_alive, owner_token
from harnest.study.plan import Plan
from harnest.study.search import make_pruner, make_sampler
from harnest.study.storage import open_storage
from harnest.study.trial import PRUNED_AT

_IDENTITY, _SPACE = "identity", "space"


@contextmanager
def opened(plan: Plan, listeners: Sequence[StudyListener]) -> Iterator["OpenStudy"]:
    """Open or make the planned study, and introduce it to its listeners.

    Trials that a dead sweeper left running are ended, and interrupted ones lined up again.
    Raises `StudyError` where the study cannot be gone on with; nothing is left behind then.
    """
    is_new = not plan.directory.exists()
    plan.directory.mkdir(parents=True, exist_ok=True)
    with owner_token(plan.directory) as owner:
        try:
            study = OpenStudy(plan, owner, listeners)
        except BaseException:
            if is_new and not any(path.name.isdigit() for path in plan.directory.iterdir()):
                shutil.rmtree(plan.directory)
            raise
        yield study


class OpenStudy:
    """One study, as this sweeper process works on it."""

    def __init__(self, plan: Plan, owner: str, listeners: Sequence[StudyListener]) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.plan = plan
        self.owner = owner
        self.listeners = listeners
        storage = open_storage(plan.storage)
        with self._lock():
            is_new = plan.name not in optuna.get_all_study_names(storage)
            if is_new:
                _refuse_leftovers(plan.directory)
            self._study = optuna.create_study(
                study_name=plan.name,
                storage=storage,
                directions=[StudyDirection[one.upper()] for one in plan.directions],
                pruner=make_pruner(plan.pruner),
                load_if_exists=not is_new,
            )
            if is_new:
                self._study.set_user_attr(_SPACE, _identifying(plan))
                self._study.set_user_attr(_IDENTITY, uuid.uuid4().hex)
                for params in plan.space.grid() if plan.is_grid else ():
                    self._study.enqueue_trial(params)
            _refuse_other_search(self._study, plan)
            self._reap()
        for listener in listeners:
            listener.on_study_start(self._facts(), self.trials())

    def next(self) -> TrialFacts | None:
        """Take the next trial, or None where the budget is spent."""
        with self._lock():
            self._line_up()  # another sweeper may have been interrupted
            trials = self._study.get_trials(deepcopy=False)
            if sum(map(_counts, trials)) >= self.plan.budget:
                return None
            self._study.sampler = make_sampler(self.plan.sampler, len(trials))
            trial = self._study.ask(dict(self.plan.space.searched))
            trial.set_user_attr(OWNER, self.owner)
        return self.trial(trial.number)

    def end(self, number: int, outcome: Outcome) -> None:
        """Tell Optuna, then everyone else, how a trial ended; the first word on it counts."""
        if not self._frozen(number).state.is_finished():
            self._tell(number, outcome)
        for listener in self.listeners:
            listener.on_trial_end(self.trial(number), self.directory(number))

    def directory(self, number: int) -> Path:
        """Where a trial writes."""
        return self.plan.directory / str(number)

    def trial(self, number: int) -> TrialFacts:
        """What is known of a trial now."""
        return TrialFacts.of(self._frozen(number))

    def trials(self) -> list[TrialFacts]:
        """What is known of all trials now."""
        return [TrialFacts.of(trial) for trial in self._study.get_trials(deepcopy=False)]

    def is_pruned(self, number: int) -> bool:
        """Whether the trial was told to stop."""
        return PRUNED_AT in self._frozen(number).user_attrs

    def _lock(self) -> FileLock:
        """Held while the budget is counted: a study's sweepers do that one at a time."""
        return FileLock(self.plan.directory / ".budget.lock")

    def _frozen(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def _tell(self, number: int, outcome: Outcome) -> None:
        if outcome.failure is not None:
            identity = self._frozen(number)._trial_id
            for key, value in (
                (REASON, outcome.failure.reason),
                (MESSAGE, outcome.failure.message),
                (DETAILS, outcome.failure.details),
            ):
                self._study._storage.set_trial_user_attr(identity, key, value)
        self._study.tell(number, list(outcome.values) or None, state=outcome.state)

    def _reap(self) -> None:
        """End the trials of dead sweepers."""
        for trial in self._study.get_trials(deepcopy=False):
            owner = trial.user_attrs.get(OWNER)
            if trial.state is TrialState.RUNNING and not is_alive(self.plan.directory, owner):
                died = Failure(INTERRUPTED, "its sweeper process died")
                self._tell(trial.number, Outcome(TrialState.FAIL, failure=died))

    def _line_up(self) -> None:
        """Let every interrupted trial be run once more."""
        trials = self._study.get_trials(deepcopy=False)
        retried = {trial.user_attrs.get(RETRY_OF) for trial in trials}
        for trial in trials:
            if trial.user_attrs.get(REASON) == INTERRUPTED and trial.number not in retried:
                # One that was killed early has not drawn what it was to try.
                params = trial.system_attrs.get("fixed_params", {}) | trial.params
                self._study.enqueue_trial(params, user_attrs={RETRY_OF: trial.number})

    def _facts(self) -> StudyFacts:
        plan = self.plan
        sampler = type(make_sampler(plan.sampler)).__name__
        return StudyFacts(
            name=plan.name,
            identity=self._study.user_attrs[_IDENTITY],
            directory=plan.directory,
            directions=tuple(plan.directions),
            is_grid=plan.is_grid,
            sampler="every combination" if plan.is_grid else sampler,
            pruner=type(self._study.pruner).__name__,
            budget=plan.budget,
            space=json.loads(plan.space.as_json()),
            fixed=plan.space.fixed,
            command=this_command(),
        )


def _counts(trial: FrozenTrial) -> bool:
    """Whether a trial has used up a part of the budget; an interrupted one is run again."""
    is_waiting = trial.state is TrialState.WAITING
    return not is_waiting and trial.user_attrs.get(REASON) != INTERRUPTED


def _identifying(plan: Plan) -> list[str]:
    """What makes two commands the same study: search, fixed overrides, directions."""
    return [*plan.space.lines, f"to {', '.join(plan.directions)}"]


def _refuse_leftovers(directory: Path) -> None:
    left = sorted(path.name for path in directory.iterdir() if path.name.isdigit())
    if left:
        raise StudyError(
            f"{directory} holds trials ({', '.join(left[:3])}, ...) of a study that its storage "
            "does not know; move them away or choose another hydra.sweeper.study="
        )


def _refuse_other_search(study: optuna.Study, plan: Plan) -> None:
    was, now = study.user_attrs.get(_SPACE, []), _identifying(plan)
    if was != now:
        gone = "; ".join(line for line in was if line not in now) or "nothing"
        new = "; ".join(line for line in now if line not in was) or "nothing"
        raise StudyError(
            f"study {plan.name} searched something else: it had {gone}, and now there is {new}; "
            "choose another name with hydra.sweeper.study="
        )
