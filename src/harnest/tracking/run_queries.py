"""Queries for MLflow runs that are not limited to one page of results."""

import gc
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

_PAGE = 1000


def search_runs(client: "MlflowClient", experiment_id: str, condition: str) -> list["MlflowRun"]:
    """Return all runs of an experiment that match ``condition``, newest first.

    Args:
        client: The store to search.
        experiment_id: The experiment to search.
        condition: An MLflow filter string.
    """
    found: dict[str, MlflowRun] = {}  # by ID: new runs shift results, and pages then overlap
    token = None
    # A thousand runs are a hundred thousand objects, none of them garbage: collecting among them
    # takes twice as long as reading them.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        while True:
            page = client.search_runs(
                [experiment_id], condition, max_results=_PAGE, page_token=token
            )
            found |= {run.info.run_id: run for run in page}
            token = page.token
            if not token:
                return list(found.values())
    finally:
        if was_enabled:
            gc.enable()


def directory_conditions(directory: Path) -> list[str]:
    """Return filters for the runs of ``directory``: by its absolute path and by its real path."""
    ways = dict.fromkeys((directory.absolute(), directory.resolve()))
    return [f"tags.directory = {quoted(str(way))}" for way in ways]


def quoted(text: str) -> str:
    """Return ``text`` quoted as a value in a filter."""
    quote = '"' if "'" in text else "'"
    return f"{quote}{text}{quote}"
