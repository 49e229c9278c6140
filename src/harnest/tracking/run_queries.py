"""All runs of which something holds, however many there are."""

import gc
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

_PAGE = 1000


def search_runs(client: "MlflowClient", experiment_id: str, condition: str) -> list["MlflowRun"]:
    """The runs of an experiment of which ``condition`` holds, the newest first."""
    found: dict[str, MlflowRun] = {}  # by identity: a page begins with what a new run pushed there
    token = None
    # A thousand runs are a hundred thousand objects, none of them garbage: to look for some
    # among them takes twice as long as to read them.
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


def recorded_in(directory: Path) -> list[str]:
    """The conditions of which one holds for a directory's runs, whatever way leads there."""
    ways = dict.fromkeys((directory.absolute(), directory.resolve()))
    return [f"tags.directory = {quoted(str(way))}" for way in ways]


def quoted(text: str) -> str:
    """``text`` as a value in a condition."""
    quote = '"' if "'" in text else "'"
    return f"{quote}{text}{quote}"
