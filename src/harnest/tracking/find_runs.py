"""Recorded studies and runs, found by what people call them."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from harnest.core.errors import TrackingError
from harnest.tracking.run_queries import quoted, recorded_in, search_runs
from harnest.tracking.study_record import IDENTITY, PARENT, TRIAL

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

#: Runs that are no part of a study or of another run.
OWN = f"tags.`{PARENT}` IS NULL"


def experiment_called(client: "MlflowClient", name: str) -> str:
    """Identity of an experiment that is there; raises `TrackingError` where it is not."""
    found = client.get_experiment_by_name(name)
    if found is None:
        raise TrackingError(f"there is no experiment {name} in the store; train something first")
    return str(found.experiment_id)


def find_run(client: "MlflowClient", experiment_id: str, name: str) -> "MlflowRun":
    """The newest run that is called ``name``, or has this identity, its beginning or directory.

    A trial is found by its identity or directory: there is a trial-0 in each study. Raises
    `TrackingError` where there is none, which names some that there are.
    """
    identified = find_identified(client, name)
    if identified is not None:
        return identified
    for condition in (
        f"attributes.run_name = {quoted(name)} AND tags.`{TRIAL}` IS NULL",
        *recorded_in(Path(name)),
    ):
        found = client.search_runs([experiment_id], condition, max_results=1)
        if found:
            return found[0]
    begins = find_beginning(client, name)
    if begins is not None:
        return begins
    some = client.search_runs([experiment_id], OWN, max_results=8)
    known = ", ".join(dict.fromkeys(str(run.info.run_name) for run in some))
    raise TrackingError(f"no study or run is called {name}; there are {known or 'none yet'}")


def find_identified(client: "MlflowClient", name: str) -> "MlflowRun | None":
    """The run whose identity ``name`` is, in whatever experiment; None where it is no identity.

    Raises `TrackingError` where there is no such run.
    """
    from mlflow.exceptions import MlflowException

    if not re.fullmatch("[0-9a-f]{32}", name):
        return None
    try:
        return client.get_run(name)
    except MlflowException as error:
        raise TrackingError(f"the store has no run {name}") from error


def find_beginning(client: "MlflowClient", name: str) -> "MlflowRun | None":
    """The run whose identity begins with ``name``, in whatever experiment; None where none does.

    Raises `TrackingError` where several do.
    """
    if not re.fullmatch("[0-9a-f]{4,31}", name):
        return None
    experiments = [one.experiment_id for one in client.search_experiments()]
    found = client.search_runs(experiments, f"attributes.run_id LIKE '{name}%'", max_results=2)
    if len(found) > 1:
        raise TrackingError(f"the ids of several runs begin with {name}: give more of its digits")
    return found[0] if found else None


def find_study(client: "MlflowClient", experiment_id: str, name: str) -> "MlflowRun":
    """The parent run of the study ``name``; raises `TrackingError` where that is none."""
    found = find_run(client, experiment_id, name)
    if not is_study(found):
        raise TrackingError(f"{name} is a run, not a study; harnest-compare shows what there is")
    return found


def trials_of(
    client: "MlflowClient", study: "MlflowRun", condition: str | None = None
) -> list["MlflowRun"]:
    """The child runs of a study's trials of which ``condition`` holds, the newest first."""
    family = f"tags.`{IDENTITY}` = {quoted(study.data.tags[IDENTITY])} AND tags.`{TRIAL}` != ''"
    if condition is not None:
        family += f" AND {condition}"
    return search_runs(client, study.info.experiment_id, family)


def best_trial_run(client: "MlflowClient", study: "MlflowRun") -> "MlflowRun | None":
    """The run of a study's best trial; None where it has none, or the store does not know it.

    The study itself may not have known that run's identity: its store was away at its end.
    """
    best, run_id = (study.data.tags.get(f"best.{what}") for what in ("trial", "run_id"))
    if run_id:
        return client.get_run(run_id)
    number = (best or "").removeprefix("trial-")
    found = trials_of(client, study, f"tags.`{TRIAL}` = {quoted(number)}") if number else []
    return found[0] if found else None


def is_study(run: "MlflowRun") -> bool:
    """Whether this is the parent run of a study."""
    return IDENTITY in run.data.tags and PARENT not in run.data.tags
