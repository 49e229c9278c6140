"""Recorded runs, ranked: the trials of one study, or the best of several."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harnest.errors import TrackingError
from harnest.tracking.run import OBJECTIVE, STEPS
from harnest.tracking.store import open_existing
from harnest.tracking.study import IDENTITY, STUDY, TRIAL

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

_PAGE = 1000


@dataclass(frozen=True)
class Row:
    """One run: its name, how it ended, its score, and the parameters worth showing."""

    name: str
    run_id: str
    state: str
    score: float | None
    steps: int | None
    seconds: float | None
    params: dict[str, str]


def leaderboard(address: str, experiment: str, names: Sequence[str]) -> list[Row]:
    """Rows, best first, of what ``names`` name: studies, runs, or directories of either.

    One study gives its trials. Several studies or runs give one row each, a study its best
    trial. No names: all studies and all runs of their own. Raises `TrackingError` for a name
    that the store does not know.
    """
    client = open_existing(address)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        raise TrackingError(
            f"there is no experiment {experiment} in the store; train something first"
        )
    everything = _all_runs(client, found.experiment_id)
    own = [run for run in everything if TRIAL not in run.data.tags]
    chosen = [_find(name, own, everything) for name in names] or own
    if len(chosen) == 1 and _is_study(chosen[0]):
        study = chosen[0]
        trials = _trials_of(study, everything)
        keys = [key[7:] for key in study.data.params if key.startswith("search.")]
        minimize = study.data.params.get("directions", "").startswith("minimize")
        return _ranked((_row(run, run.info.run_name, keys) for run in trials), minimize)
    best = [(run, _best_of(run, everything)) for run in chosen]
    keys = _differing([run for _, run in best])
    minimize = any(r.data.params.get("objective.mode") == "min" for _, r in best)
    rows = (_row(run, _title(origin, run), keys) for origin, run in best)
    return _ranked(rows, minimize)


def _all_runs(client: "MlflowClient", experiment_id: str) -> list["MlflowRun"]:
    runs: list[MlflowRun] = []
    token = None
    while True:
        page = client.search_runs([experiment_id], max_results=_PAGE, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs


def _find(name: str, own: list["MlflowRun"], everything: list["MlflowRun"]) -> "MlflowRun":
    """The newest run of this name or directory; trials are found by directory or identity."""
    directory = str(Path(name).absolute())
    for run in own:
        if name in (run.info.run_name, run.info.run_id):
            return run
    for run in everything:
        if run.info.run_id == name or run.data.tags.get("directory") == directory:
            return run
    known = ", ".join(dict.fromkeys(str(run.info.run_name) for run in own[:8]))
    raise TrackingError(f"no study or run is called {name}; there are {known or 'none yet'}")


def _trials_of(study: "MlflowRun", everything: list["MlflowRun"]) -> list["MlflowRun"]:
    identity = study.data.tags.get(IDENTITY)
    return [r for r in everything if r.data.tags.get(IDENTITY) == identity and TRIAL in r.data.tags]


def _best_of(run: "MlflowRun", everything: list["MlflowRun"]) -> "MlflowRun":
    best = run.data.tags.get("best.run_id")
    return next((r for r in everything if r.info.run_id == best), run)


def _title(origin: "MlflowRun", run: "MlflowRun") -> str:
    if origin is run:
        return str(run.info.run_name)
    return f"{origin.info.run_name}/{run.info.run_name}"


def _differing(runs: list["MlflowRun"]) -> list[str]:
    """Parameters that tell the runs apart: each run has them, and not all the same value.

    A column that says no more than an earlier one, as an interpolation of it does, is left out,
    and so is where a run wrote.
    """
    trained = [run.data.params for run in runs if not _is_study(run)]
    shared = [key for key in (trained or [{}])[0] if all(key in params for params in trained)]
    columns: dict[tuple[str, ...], str] = {}
    for key in shared:
        values = tuple(params[key] for params in trained)
        if len(set(values)) > 1 and key.rpartition(".")[2] not in ("dirpath", "save_dir"):
            columns.setdefault(values, key)
    return list(columns.values())


def _is_study(run: "MlflowRun") -> bool:
    return STUDY in run.data.tags and TRIAL not in run.data.tags


def _row(run: "MlflowRun", name: str, keys: Iterable[str]) -> Row:
    info, metrics = run.info, run.data.metrics
    steps = metrics.get(STEPS)
    return Row(
        name=name,
        run_id=info.run_id,
        state="PRUNED" if "pruned" in run.data.tags else info.status,
        score=metrics.get(OBJECTIVE),
        steps=None if steps is None else int(steps),
        seconds=(info.end_time - info.start_time) / 1000 if info.end_time else None,
        params={key: run.data.params.get(key, "") for key in keys},
    )


def _ranked(rows: Iterable[Row], minimize: bool) -> list[Row]:
    """Finished runs by score, then pruned ones by score, then those without."""
    places = {"FINISHED": 0, "PRUNED": 1}
    sign = 1 if minimize else -1
    return sorted(
        rows,
        key=lambda row: (
            places.get(row.state, 2),
            row.score is None,
            sign * row.score if row.score is not None else 0.0,
            row.name,
        ),
    )
