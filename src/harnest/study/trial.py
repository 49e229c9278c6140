"""The current trial, for the process that trains it."""

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from harnest.core.failure import TrialInterruptedError
from harnest.study.constraints import Constraint, constraints_of

#: Environment of a trial's process: the study's name, the trial's number, where they are kept.
STUDY, NUMBER, STORAGE = "HARNEST_STUDY", "HARNEST_TRIAL", "HARNEST_STORAGE"

#: Environment of a job that is only a replicate of a trial: its name.
REPLICATE = "HARNEST_REPLICATE"

#: Trial attribute: the step at which the pruner said to stop.
PRUNED_AT = "pruned_at"


def measured_attribute(replicate: str, name: str) -> str:
    """Trial attribute: what a replicate, or the trial's own job (""), measured of a quantity."""
    return f"measured:{name}:{replicate}".rstrip(":")


class Trial:
    """A trial of a study, in the process that runs it.

    Raises:
        TrialInterruptedError: The trial has already ended, so nothing waits for this job.
    """

    def __init__(
        self,
        study: str,
        number: int,
        storage: str,
        pruner: Any = None,
        constraints: Sequence[Constraint] = (),
    ) -> None:
        import optuna

        from harnest.study.storage.optuna_storage import reopen_storage

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        opened = optuna.load_study(study_name=study, storage=reopen_storage(storage), pruner=pruner)
        identity = opened._storage.get_trial_id_from_study_id_trial_number(opened._study_id, number)
        self.study = study
        self.number = number
        self.constraints = constraints
        self._trial = optuna.Trial(opened, identity)
        if self._trial._cached_frozen_trial.state.is_finished():  # by its other replicates
            raise TrialInterruptedError(f"trial {number} has ended already")
        #: Whether the pruner has given it up.
        self.is_pruned = False
        self._has_diverged = False
        self._replicate = os.environ.get(REPLICATE, "")
        # Optuna prunes by one objective only, and a trial of replicates by their scores.
        self._is_judged = len(opened.directions) == 1 and not self._replicate

    def report(self, value: float, step: int) -> None:
        """Tell the study the objective's value after ``step``.

        A study with several objectives ignores it, and so does a trial with replicates, whose
        scores count.
        """
        if self._is_judged:
            self._trial.report(value, step)
            self._has_diverged = math.isnan(value)

    def should_prune(self) -> bool:
        """Whether the pruner stops this trial.

        After True the trial ends as pruned, whether its job returns or raises.
        """
        # A trial with NaN fails; it is not pruned.
        if not self._is_judged or self._has_diverged or not self._trial.should_prune():
            return False
        step = self._trial.study._storage.get_trial(self._trial._trial_id).last_step
        self._trial.set_user_attr(PRUNED_AT, step)
        self.is_pruned = True
        return True

    def measured(self, quantities: Mapping[str, float]) -> None:
        """Tell the study what the trial's constraints ask about; other quantities are ignored.

        The last word on each counts, and the mean over the replicates of a trial. Raises ValueError
        for what is not a number.
        """
        from optuna.exceptions import UpdateFinishedTrialError

        for constraint in self.constraints:
            if constraint.name in quantities:
                value = float(quantities[constraint.name])
                if math.isnan(value):
                    raise ValueError(f"{constraint.name}, which the study limits, is not a number")
                with suppress(UpdateFinishedTrialError):  # by its other replicates
                    self._trial.set_user_attr(
                        measured_attribute(self._replicate, constraint.name), value
                    )


def current_trial() -> Trial | None:
    """The trial that this Hydra job is, or None where it is no part of a study."""
    number = os.environ.get(NUMBER)
    if number is None:
        return None
    from hydra.core.hydra_config import HydraConfig

    from harnest.study.space.samplers import make_pruner

    sweeper = HydraConfig.get().sweeper
    return Trial(
        os.environ[STUDY],
        int(number),
        os.environ[STORAGE],
        make_pruner(sweeper.get("pruner")),
        constraints_of(sweeper.get("constraints")),
    )
