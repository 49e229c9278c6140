"""Finds recorded studies and runs by name, MLflow run ID or directory."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from harnest.core.errors import TrackingError
from harnest.tracking.run_queries import directory_conditions, quoted, search_runs
from harnest.tracking.study_record import IDENTITY, PARENT, TRIAL

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

#: Filter for top-level runs: neither part of a study nor nested in another run.
STANDALONE = f"tags.`{PARENT}` IS NULL"


def experiment_id_of(client: "MlflowClient", name: str) -> str:
    """Return the ID of the experiment called ``name``.

    Raises:
        TrackingError: The store has no such experiment.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        raise TrackingError(f"there is no experiment {name} in the store; train something first")
    return str(found.experiment_id)


def find_run(client: "MlflowClient", experiment_id: str, name: str) -> "MlflowRun":
    """Find the newest run with a given name, run ID, prefix of a run ID, or directory.

    Args:
        client: The store to search.
        experiment_id: The experiment to search by name or directory.
        name: The run's name, run ID, prefix of the run ID, or directory. Trials are not found by
            name, because every study has a ``trial-0``.

    Returns:
        The newest matching run.

    Raises:
        TrackingError: No run matches; the message lists some that exist.
    """
    identified = find_by_id(client, name)
    if identified is not None:
        return identified
    for condition in (
        f"attributes.run_name = {quoted(name)} AND tags.`{TRIAL}` IS NULL",
        *directory_conditions(Path(name)),
    ):
        found = client.search_runs([experiment_id], condition, max_results=1)
        if found:
            return found[0]
    begins = find_by_id_prefix(client, name)
    if begins is not None:
        return begins
    some = client.search_runs([experiment_id], STANDALONE, max_results=8)
    known = ", ".join(dict.fromkeys(str(run.info.run_name) for run in some))
    raise TrackingError(f"no study or run is called {name}; there are {known or 'none yet'}")


def find_by_id(client: "MlflowClient", name: str) -> "MlflowRun | None":
    """Find the run with the ID ``name`` in any experiment; None if ``name`` is not a run ID.

    Raises:
        TrackingError: There is no such run.
    """
    from mlflow.exceptions import MlflowException

    if not re.fullmatch("[0-9a-f]{32}", name):
        return None
    try:
        return client.get_run(name)
    except MlflowException as error:
        raise TrackingError(f"the store has no run {name}") from error


def find_by_id_prefix(client: "MlflowClient", name: str) -> "MlflowRun | None":
    """Find the run whose ID begins with ``name`` in any experiment; None if there is none.

    Raises:
        TrackingError: Several run IDs begin with ``name``.
    """
    if not re.fullmatch("[0-9a-f]{4,31}", name):
        return None
    experiments = [one.experiment_id for one in client.search_experiments()]
    found = client.search_runs(experiments, f"attributes.run_id LIKE '{name}%'", max_results=2)
    if len(found) > 1:
        raise TrackingError(f"the ids of several runs begin with {name}: give more of its digits")
    return found[0] if found else None


def find_study(client: "MlflowClient", experiment_id: str, name: str) -> "MlflowRun":
    """Find the parent run of the study ``name``.

    Args:
        client: The store to search.
        experiment_id: The experiment to search.
        name: As for `find_run`.

    Raises:
        TrackingError: No run matches, or the run is not a study.
    """
    found = find_run(client, experiment_id, name)
    if not is_study(found):
        raise TrackingError(f"{name} is a run, not a study; harnest-compare lists the studies")
    return found


def trials_of(
    client: "MlflowClient", study: "MlflowRun", condition: str | None = None
) -> list["MlflowRun"]:
    """Return the child runs of a study's trials, newest first.

    Args:
        client: The store that holds the study.
        study: The study's parent run.
        condition: An MLflow filter that the runs must match; None for all.
    """
    family = f"tags.`{IDENTITY}` = {quoted(study.data.tags[IDENTITY])} AND tags.`{TRIAL}` != ''"
    if condition is not None:
        family += f" AND {condition}"
    return search_runs(client, study.info.experiment_id, family)


def best_trial_run(client: "MlflowClient", study: "MlflowRun") -> "MlflowRun | None":
    """Return the run of a study's best trial; None if there is none or the store lacks its run.

    The parent run may not hold that run's ID, if the store did not answer when the study ended.
    """
    best, run_id = (study.data.tags.get(f"best.{what}") for what in ("trial", "run_id"))
    if run_id:
        return client.get_run(run_id)
    number = (best or "").removeprefix("trial-")
    found = trials_of(client, study, f"tags.`{TRIAL}` = {quoted(number)}") if number else []
    return found[0] if found else None


def is_study(run: "MlflowRun") -> bool:
    """Return whether ``run`` is the parent run of a study."""
    return IDENTITY in run.data.tags and PARENT not in run.data.tags
