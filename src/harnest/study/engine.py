"""A study from its opening to its end: what is left of its budget is asked, launched, told."""

import json
import logging
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig
from optuna.study import StudyDirection
from optuna.trial import TrialState

from harnest.errors import StudyError
from harnest.failure import INTERRUPTED, Failure
from harnest.programs import this_command
from harnest.study.listener import DETAILS, MESSAGE, REASON, RETRY_OF, StudyFacts, TrialFacts
from harnest.study.outcome import Outcome, failed, outcome_of
from harnest.study.ownership import OWNER, is_alive, owner_token
from harnest.study.search import make_pruner, make_sampler
from harnest.study.space import SearchSpace
from harnest.study.storage import journal_in, open_storage
from harnest.study.terminal import Terminal
from harnest.study.trial import NUMBER, PRUNED_AT, STORAGE, STUDY
from harnest.values import check_kind

log = logging.getLogger(__name__)

_DEFAULT_BUDGET = 20
_IDENTITY, _SPACE = "identity", "space"


class Study:
    """One study, as this sweeper process works on it."""

    def __init__(
        self,
        *,
        name: str,
        directory: Path,
        space: SearchSpace,
        directions: Sequence[str],
        budget: int | None,
        storage: str | None,
        sampler: DictConfig | None,
        pruner: DictConfig | None,
    ) -> None:
        self.name = name
        self.directory = directory
        self.space = space
        self.directions = tuple(directions)
        self.is_grid = space.is_grid and sampler is None
        size = sum(1 for _ in space.grid()) if self.is_grid else _DEFAULT_BUDGET
        self.budget = min(budget or size, size) if self.is_grid else budget or size
        self.storage = storage or journal_in(directory)
        self.sampler = sampler
        self.pruner = pruner

    def check_space(self, master: DictConfig, loader: ConfigLoader) -> None:
        """Compose the config of every choice and both ends of every range, and run none.

        Raises Hydra's errors for keys and choices that do not exist, `ConfigError` for values
        of the wrong kind.
        """
        parser = OverridesParser.create()
        for params in self.space.samples():
            overrides = self.space.overrides(params)
            loader.load_sweep_config(master, overrides)
            for override in parser.parse_overrides(overrides):
                if override.get_key_element() in params:
                    check_kind(override.get_key_element(), override.value(), master)

    def run(self, launcher: Launcher, callbacks: Sequence[Any]) -> None:
        """Run trials until the budget is spent.

        ``callbacks`` with a ``StudyListener``'s methods hear of them. Raises `StudyError` where
        the study cannot be gone on with, or where none of its trials finished;
        KeyboardInterrupt once an interrupted trial has been recorded.
        """
        listeners = [c for c in callbacks if hasattr(c, "on_study_start")]
        terminal = Terminal()
        is_new = not self.directory.exists()
        self.directory.mkdir(parents=True, exist_ok=True)
        with owner_token(self.directory) as owner:
            try:
                study = self._open()
                facts = self._facts(study)
                for listener in [terminal, *listeners]:
                    listener.on_study_start(facts, self._trials(study))
            except BaseException:
                if is_new:  # nothing has run in it
                    shutil.rmtree(self.directory)
                raise
            complete = False
            try:
                while (trial := self._next(study, owner)) is not None:
                    self._run_trial(study, trial, launcher, [terminal, *listeners])
                complete = True
            finally:
                trials = self._trials(study)
                hints = [h for one in listeners for h in one.on_study_end(trials, complete)]
                terminal.on_study_end(trials, complete, hints)
        if not any(t.state in (TrialState.COMPLETE, TrialState.RUNNING) for t in trials):
            first = next((t.message for t in trials if t.message), "all were pruned")
            raise StudyError(
                f"study {self.name}: none of its {len(trials)} trials finished; {first}"
            )

    def _open(self) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = open_storage(self.storage)
        with self._lock():
            known = {s.study_name for s in optuna.get_all_study_summaries(storage)}
            if self.name not in known:
                self._refuse_leftovers()
            study = optuna.create_study(
                study_name=self.name,
                storage=storage,
                directions=[StudyDirection[one.upper()] for one in self.directions],
                pruner=make_pruner(self.pruner),
                load_if_exists=True,
            )
            if self.name not in known:
                study.set_user_attr(_SPACE, list(self.space.lines))
                study.set_user_attr(_IDENTITY, uuid.uuid4().hex)
                for params in self.space.grid() if self.is_grid else ():
                    study.enqueue_trial(params)
            self._refuse_other_space(study)
            self._reap(study)
        return study

    def _lock(self) -> FileLock:
        """Held while the study's budget is counted: its sweepers do that one at a time."""
        return FileLock(self.directory / ".budget.lock")

    def _refuse_leftovers(self) -> None:
        left = sorted(p.name for p in self.directory.iterdir() if p.name.isdigit())
        if left:
            raise StudyError(
                f"{self.directory} holds trials ({', '.join(left[:3])}, ...) of a study that its "
                "storage does not know; move them away or choose another hydra.sweeper.study="
            )

    def _refuse_other_space(self, study: optuna.Study) -> None:
        was, now = study.user_attrs.get(_SPACE, []), list(self.space.lines)
        direction = tuple(direction.name.lower() for direction in study.directions)
        if direction != self.directions:
            was, now = [f"to {', '.join(direction)}"], [f"to {', '.join(self.directions)}"]
        if was != now:
            gone = "; ".join(line for line in was if line not in now) or "nothing"
            new = "; ".join(line for line in now if line not in was) or "nothing"
            raise StudyError(
                f"study {self.name} searched something else: it had {gone}, and now there is "
                f"{new}; choose another name with hydra.sweeper.study="
            )

    def _reap(self, study: optuna.Study) -> None:
        """End the trials of dead sweepers, and line up every interrupted one once more."""
        trials = study.get_trials(deepcopy=False)
        for trial in trials:
            if trial.state is TrialState.RUNNING and not is_alive(
                self.directory, trial.user_attrs.get(OWNER)
            ):
                died = Failure(INTERRUPTED, "its sweeper process died")
                self._tell(study, trial.number, Outcome(TrialState.FAIL, failure=died))
        retried = {trial.user_attrs.get(RETRY_OF) for trial in trials}
        for trial in study.get_trials(deepcopy=False):
            if trial.user_attrs.get(REASON) == INTERRUPTED and trial.number not in retried:
                study.enqueue_trial(trial.params, user_attrs={RETRY_OF: trial.number})

    def _next(self, study: optuna.Study, owner: str) -> optuna.Trial | None:
        with self._lock():
            trials = study.get_trials(deepcopy=False)
            spent = sum(
                trial.state is not TrialState.WAITING
                and trial.user_attrs.get(REASON) != INTERRUPTED
                for trial in trials
            )
            if spent >= self.budget:
                return None
            study.sampler = make_sampler(self.sampler, len(trials))
            trial = study.ask(dict(self.space.searched))
            trial.set_user_attr(OWNER, owner)
            return trial

    def _run_trial(
        self,
        study: optuna.Study,
        trial: optuna.Trial,
        launcher: Launcher,
        listeners: Sequence[Any],
    ) -> None:
        directory = self.directory / str(trial.number)
        environment = {STUDY: self.name, NUMBER: str(trial.number)}
        if self.storage.startswith("journal:"):
            environment[STORAGE] = self.storage
        # Any other address may hold a password: the sweeper's own environment has it.
        for listener in listeners:
            environment |= listener.on_trial_start(self._fact(study, trial.number), directory)
        try:
            overrides = [*self.space.overrides(trial.params), *_environment(environment)]
            (job,) = launcher.launch([overrides], initial_job_idx=trial.number)
            pruned = PRUNED_AT in self._frozen(study, trial.number).user_attrs
            outcome = outcome_of(job, len(self.directions), pruned)
        except BaseException as error:
            self._end(study, trial.number, failed(error), directory, listeners)
            raise
        self._end(study, trial.number, outcome, directory, listeners)

    def _end(
        self,
        study: optuna.Study,
        number: int,
        outcome: Outcome,
        directory: Path,
        listeners: Sequence[Any],
    ) -> None:
        self._tell(study, number, outcome)
        for listener in listeners:
            listener.on_trial_end(self._fact(study, number), directory)

    def _tell(self, study: optuna.Study, number: int, outcome: Outcome) -> None:
        identity = self._frozen(study, number)._trial_id
        if outcome.failure is not None:
            for key, value in (
                (REASON, outcome.failure.reason),
                (MESSAGE, outcome.failure.message),
                (DETAILS, outcome.failure.details),
            ):
                study._storage.set_trial_user_attr(identity, key, value)
        study.tell(number, list(outcome.values) or None, state=outcome.state)

    def _frozen(self, study: optuna.Study, number: int) -> optuna.trial.FrozenTrial:
        return study.get_trials(deepcopy=False)[number]

    def _fact(self, study: optuna.Study, number: int) -> TrialFacts:
        return TrialFacts.of(self._frozen(study, number))

    def _trials(self, study: optuna.Study) -> list[TrialFacts]:
        return [TrialFacts.of(trial) for trial in study.get_trials(deepcopy=False)]

    def _facts(self, study: optuna.Study) -> StudyFacts:
        sampler = "every combination" if self.is_grid else type(make_sampler(self.sampler)).__name__
        return StudyFacts(
            name=self.name,
            identity=study.user_attrs[_IDENTITY],
            directory=self.directory,
            directions=self.directions,
            sampler=sampler,
            pruner=type(make_pruner(self.pruner)).__name__,
            budget=self.budget,
            space=json.loads(self.space.as_json()),
            fixed=self.space.fixed,
            command=this_command(),
        )


def _environment(variables: Mapping[str, str]) -> list[str]:
    """Overrides that set environment variables of one job, wherever it runs."""
    quoted = {k: QuotedString(v, Quote.single).with_quotes() for k, v in variables.items()}
    return [f"++hydra.job.env_set.{key}={value}" for key, value in quoted.items()]
