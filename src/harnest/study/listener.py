"""Who wants to know what happens in a study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from optuna.trial import FrozenTrial, TrialState

from harnest.study.trial import PRUNED_AT

#: Trial attributes: why it failed, in a word, in a line; the number that it repeats.
REASON, MESSAGE, DETAILS, RETRY_OF = "reason", "message", "details", "retry_of"


@dataclass(frozen=True)
class StudyFacts:
    """What is known of a study before its first trial; a grid tries every combination."""

    name: str
    identity: str
    directory: Path
    directions: tuple[str, ...]
    is_grid: bool
    sampler: str
    pruner: str
    budget: int
    space: Mapping[str, str]
    fixed: tuple[str, ...]
    command: str


@dataclass(frozen=True)
class TrialFacts:
    """One trial, running or ended."""

    number: int
    params: Mapping[str, Any]
    state: TrialState
    values: tuple[float, ...] = ()
    steps: Mapping[int, float] = field(default_factory=dict)
    duration: timedelta | None = None
    reason: str | None = None
    message: str | None = None
    details: str | None = None
    pruned_at: int | None = None
    retry_of: int | None = None

    @staticmethod
    def of(trial: FrozenTrial) -> "TrialFacts":
        """Read the facts from Optuna's record."""
        attributes = trial.user_attrs
        return TrialFacts(
            number=trial.number,
            params=trial.params,
            state=trial.state,
            values=tuple(trial.values or ()),
            steps=dict(sorted(trial.intermediate_values.items())),
            duration=trial.duration,
            reason=attributes.get(REASON),
            message=attributes.get(MESSAGE),
            details=attributes.get(DETAILS),
            pruned_at=attributes.get(PRUNED_AT),
            retry_of=attributes.get(RETRY_OF),
        )


class StudyListener(Protocol):
    """Hears of a study's events, in the sweeper's process.

    A Hydra callback with these methods, configured in ``hydra.callbacks``, is one.
    """

    def on_study_start(self, study: StudyFacts, trials: Sequence[TrialFacts]) -> None:
        """The study was opened; ``trials`` are those of earlier sessions.

        Of several sweepers that open a study at once, each does this alone.
        """

    def on_trial_start(self, trial: TrialFacts, directory: Path) -> Mapping[str, str]:
        """A trial is about to run; returns environment variables for its process."""

    def on_trial_end(self, trial: TrialFacts, directory: Path) -> None:
        """A trial ended, in whatever way."""

    def on_study_end(self, trials: Sequence[TrialFacts], complete: bool) -> Sequence[str]:
        """No more trials for now; ``complete`` once the budget is spent.

        Returns lines that say what to do next.
        """
