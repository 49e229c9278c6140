"""harnest: Hydra-configured Lightning experiments, Optuna sweeps and nested MLflow runs.

This is the public API. Importing it imports neither torch, Lightning nor MLflow; each name is
imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harnest.study.callback import StudyCallback
    from harnest.study.study_task import StudyTask
    from harnest.study.trial import Trial, current_trial
    from harnest.tracking.api import leaderboard, load_model
    from harnest.training.api import RunResult, StudyResult, compose, load_study, sweep, train
    from harnest.training.callbacks.pruning import PruningCallback
    from harnest.training.logger import MLflowLogger

_MODULES = {
    "MLflowLogger": "harnest.training.logger",
    "PruningCallback": "harnest.training.callbacks.pruning",
    "RunResult": "harnest.training.api",
    "StudyCallback": "harnest.study.callback",
    "StudyResult": "harnest.training.api",
    "StudyTask": "harnest.study.study_task",
    "Trial": "harnest.study.trial",
    "compose": "harnest.training.api",
    "current_trial": "harnest.study.trial",
    "leaderboard": "harnest.tracking.api",
    "load_model": "harnest.tracking.api",
    "load_study": "harnest.training.api",
    "sweep": "harnest.training.api",
    "train": "harnest.training.api",
}

__all__ = [
    "MLflowLogger",
    "PruningCallback",
    "RunResult",
    "StudyCallback",
    "StudyResult",
    "StudyTask",
    "Trial",
    "compose",
    "current_trial",
    "leaderboard",
    "load_model",
    "load_study",
    "sweep",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
