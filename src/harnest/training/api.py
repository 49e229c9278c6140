"""Training and sweeping from Python: what the commands do, with results as objects."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from harnest.core.errors import StudyError
from harnest.core.paths import CONFIG_DIR, remove_if_unused
from harnest.core.secrets import move_to_environment
from harnest.study.callback import StudyCallback
from harnest.study.replicates import Replicates
from harnest.training import interactive
from harnest.training.application import run_application
from harnest.training.run import RunResult
from harnest.training.train import TRAIN

if TYPE_CHECKING:
    import optuna

    from harnest.study.events import StudyInfo, TrialInfo

__all__ = ["RunResult", "StudyResult", "compose", "load_study", "sweep", "train"]


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """Compose the config that ``harnest-train`` would train.

    Args:
        overrides: Overrides as on the command line, ``["model=gru", "seed=1"]``.

    Returns:
        The config, without Hydra's own part.

    Raises:
        ConfigError: The overrides cannot be used.

    Example:
        >>> compose(["model=gru", "model.layers=2"]).model.layers
        2
    """
    return interactive.compose(*overrides)


def train(overrides: Sequence[str] = ()) -> RunResult:
    """Train once, as ``harnest-train`` does: in a directory of its own, recorded in MLflow.

    Args:
        overrides: Overrides as on the command line.

    Returns:
        The directory of the run and its scores.

    Raises:
        HarnestError: The config cannot be used, or training diverged.

    Example:
        >>> train(["trainer.max_epochs=1"]).score  # doctest: +SKIP
        0.52
    """
    done: list[RunResult] = []

    def task(cfg: DictConfig) -> None:
        directory = Path(HydraConfig.get().runtime.output_dir)
        try:
            returned = TRAIN(cfg)
        except BaseException:
            remove_if_unused(directory)
            raise
        assert not isinstance(returned, Replicates)  # for studies only
        done.append(RunResult.of(directory, returned))

    task.__module__ = TRAIN.run.__module__
    run_application(task, move_to_environment(list(overrides)), CONFIG_DIR, "train")
    return done[0]


@dataclass(frozen=True)
class StudyResult:
    """A study after a sweep.

    Attributes:
        name: Its name.
        directory: Its directory.
        trials: All trials, including those of earlier sweeps.
        is_complete: Whether the budget is spent.
    """

    name: str
    directory: Path
    trials: tuple["TrialInfo", ...]
    is_complete: bool

    @property
    def best(self) -> "TrialInfo | None":
        """The best trial; None where none has finished. Of several objectives, one of the front."""
        return next((trial for trial in self.trials if trial.is_best), None)


class _Result(StudyCallback):
    """Keeps what a sweep returns."""

    study: "StudyInfo"
    trials: tuple["TrialInfo", ...] = ()
    is_complete = False

    def on_study_start(self, study: "StudyInfo", trials: Sequence["TrialInfo"]) -> None:
        self.study = study

    def on_study_end(self, trials: Sequence["TrialInfo"], complete: bool) -> Sequence[str]:
        self.trials, self.is_complete = tuple(trials), complete
        return []


def sweep(overrides: Sequence[str] = ()) -> StudyResult:
    """Run a study up to its budget, as ``harnest-train -m`` does.

    Args:
        overrides: Overrides as on the command line, without ``-m``: ``["sweep=quick"]``.

    Returns:
        The study with its trials.

    Raises:
        HarnestError: The study cannot be run, or none of its trials finished.

    Example:
        >>> sweep(["sweep=quick"]).best.values  # doctest: +SKIP
        (0.72,)
    """
    result = _Result()
    arguments = ["--multirun", *move_to_environment(list(overrides))]
    run_application(TRAIN.with_callbacks(result), arguments, CONFIG_DIR, "train")
    study = result.study
    return StudyResult(study.name, study.directory, result.trials, result.is_complete)


def load_study(name: str | Path, storage: str | None = None) -> "optuna.Study":
    """Load a study as Optuna's own object, with ``trials_dataframe()`` and the rest.

    Args:
        name: The study's name, or its directory.
        storage: Address of the study's storage; None: the file in its directory, which is
            ``multirun/NAME`` for a name.

    Raises:
        StudyError: There is no such study.

    Example:
        >>> load_study("quick").trials_dataframe()  # doctest: +SKIP
    """
    import optuna

    from harnest.study.storage.optuna_storage import journal_address, open_storage

    folder = Path(name) if Path(name).is_dir() else Path("multirun") / name
    if storage is None:
        if not (folder / "study.journal").is_file():
            raise StudyError(f"{name} is not a study: {folder} has no study.journal")
        storage = journal_address(folder)
    try:
        return optuna.load_study(study_name=folder.name, storage=open_storage(storage))
    except KeyError as error:
        raise StudyError(f"the storage has no study {folder.name}") from error
