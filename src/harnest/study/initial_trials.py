"""The configurations that a study tries first."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage

from harnest.core.errors import StudyError
from harnest.study.events import TrialInfo
from harnest.study.plan import StudyPlan
from harnest.study.space.parameter import as_override, decode
from harnest.study.storage.optuna_storage import journal_address, open_storage


def initial_trials(plan: StudyPlan, storage: BaseStorage) -> list[dict[str, Any]]:
    """The configurations that ``hydra.sweeper.enqueue`` lists, by key.

    Args:
        plan: The study's plan.
        storage: The study's own storage.

    Raises:
        StudyError: A key is not searched, or a folder holds no study.
    """
    space = plan.space
    first: list[dict[str, Any]] = []
    for source in plan.enqueue:
        for params in _configurations(source, storage):
            chosen = space.choices(params)
            unknown = [key for key, value in chosen.items() if value is None]
            if isinstance(source, str):  # another study may have searched more
                first += [] if unknown else [chosen]
                continue
            given = {key: as_override(value) for key, value in params.items()}
            if idle := [key for key in params if key not in chosen]:
                where = ", ".join(f"{key}={value}" for key, value in given.items())
                raise StudyError(f"hydra.sweeper.enqueue: {idle[0]} is not searched where {where}")
            if unknown:
                key = unknown[0]
                raise StudyError(
                    f"hydra.sweeper.enqueue: {key}={given[key]} is not what is searched: "
                    f"{space.answered(chosen)[key]}"
                )
            first.append(chosen)
    return first


def _configurations(
    source: Mapping[str, Any] | str, storage: BaseStorage
) -> list[Mapping[str, Any]]:
    """What jobs are to see first: as it is given, or of the best trials in a study's folder."""
    if not isinstance(source, str):
        return [source]
    folder, name = Path(source), Path(source).name
    if (folder / "study.journal").is_file():
        storage = open_storage(journal_address(folder))
        (name,) = optuna.get_all_study_names(storage)
    elif name not in optuna.get_all_study_names(storage):
        raise StudyError(f"hydra.sweeper.enqueue: {source} is not a study folder")
    study = optuna.load_study(study_name=name, storage=storage)
    best = [TrialInfo.of(trial).params for trial in study.best_trials]
    return [{key: decode(value) for key, value in params.items()} for params in best]
