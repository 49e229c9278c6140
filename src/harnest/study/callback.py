"""The base class of callbacks that follow a study."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.experimental.callback import Callback

if TYPE_CHECKING:
    from harnest.study.events import StudyInfo, TrialInfo
    from harnest.study.outcome import Outcome


class StudyCallback(Callback):
    """A Hydra callback that is also called for a study's events, in the sweeper's process.

    Derive from it, implement what you need, and name the class in ``hydra.callbacks``.

    Example:
        >>> class Finished(StudyCallback):
        ...     def on_trial_end(self, trial, directory):
        ...         print(trial.number, trial.values)
    """

    def on_study_start(self, study: "StudyInfo", trials: Sequence["TrialInfo"]) -> None:
        """The study was opened; ``trials`` are those of earlier sessions.

        Where several sweepers open a study at once, each calls this while no other does.
        """

    def on_trial_start(self, trial: "TrialInfo", directory: Path) -> Mapping[str, str]:
        """A trial is about to run; returns environment variables for its process."""
        return {}

    def on_replicates_created(self, trial: "TrialInfo") -> None:
        """A trial's own job has returned its replicates, which are about to run."""

    def on_replicate_start(
        self, trial: "TrialInfo", name: str, directory: Path
    ) -> Mapping[str, str]:
        """A replicate is about to run; returns environment variables for its process."""
        return {}

    def on_replicate_end(
        self, trial: "TrialInfo", name: str, directory: Path, end: "Outcome"
    ) -> None:
        """A replicate ended, in whatever way."""

    def on_trial_end(self, trial: "TrialInfo", directory: Path) -> None:
        """A trial ended, in whatever way."""

    def on_study_end(self, trials: Sequence["TrialInfo"], complete: bool) -> Sequence[str]:
        """No more trials run for now; ``complete`` once the budget is spent.

        Returns lines for the terminal that say what to do next.
        """
        return []
