"""Ranks recorded runs: the trials of one study, or several studies and runs."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harnest.reporting.rows import FINISHED, PRUNED, SEED, LeaderboardRow, ranked, without_seeds
from harnest.tracking.find_runs import (
    STANDALONE,
    best_trial_run,
    experiment_id_of,
    find_run,
    is_study,
    trials_of,
)
from harnest.tracking.run_queries import search_runs
from harnest.tracking.run_writer import BREAKS, DEVIATION, OBJECTIVE, STEPS
from harnest.tracking.store import open_existing
from harnest.tracking.study_record import PARENT
from harnest.tracking.study_summary import LISTED_AT, PARAM, REPORT, TABLE

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

_TABLE_STATES = {"COMPLETE": FINISHED, "FAIL": "FAILED"}
_PLACES = ("dirpath", "save_dir", "run_name")  # parameters that hold a run's paths and name
# Columns of the older table format that are neither parameters nor values.
_OLD_COLUMNS = ("trial", "state", "deviation", "steps", "seconds", "reason", "run_id")


@dataclass(frozen=True)
class Leaderboard:
    """A ranked table: its title, the names of its scores, its rows.

    ``report`` fetches the HTML report that the study wrote at its end; it returns None if there
    is none.
    """

    title: str
    scores: tuple[str, ...]
    rows: list[LeaderboardRow]
    report: Callable[[], str | None] = lambda: None

    def dataframe(self) -> "pd.DataFrame":
        """The rows as a table: name, run id, state, scores, epochs, seconds and parameters."""
        import pandas as pd

        return pd.DataFrame(
            {
                "name": row.name,
                "run_id": row.run_id,
                "state": row.state,
                **dict(zip(self.scores, row.scores, strict=False)),
                "steps": row.steps,
                "seconds": row.seconds,
                **row.params,
            }
            for row in self.rows
        )


def leaderboard(address: str, experiment: str, names: Sequence[str]) -> Leaderboard:
    """Rank studies and runs, best first.

    One study gives one row per trial. Several studies or runs give one row each; a study is
    represented by its best trial. Rows that differ only in their seed are merged.

    Args:
        address: Address of the MLflow store.
        experiment: Name of the experiment to search.
        names: Studies or runs as for `find_run`; empty for all studies and top-level runs.

    Raises:
        TrackingError: The store does not know the experiment or one of ``names``.
    """
    client = open_existing(address)
    group = experiment_id_of(client, experiment)
    chosen = [find_run(client, group, name) for name in names] or search_runs(
        client, group, STANDALONE
    )
    if len(chosen) == 1 and is_study(chosen[0]):
        return _of_study(client, chosen[0])
    best = [
        (run, (best_trial_run(client, run) if is_study(run) else None) or run) for run in chosen
    ]
    keys = _differing([run for _, run in best])
    direction = "minimize" if any(_minimizes(client, run) for _, run in best) else "maximize"
    rows = [_row(run, _title(origin, run), keys, [OBJECTIVE]) for origin, run in best]
    return Leaderboard("Studies and runs", ("score",), ranked(without_seeds(rows), [direction]))


def _of_study(client: "MlflowClient", study: "MlflowRun") -> Leaderboard:
    params = study.data.params
    directions = params.get("directions", "minimize").split(", ")
    single = len(directions) == 1
    scores = [OBJECTIVE] if single else [f"{OBJECTIVE}_{at}" for at, _ in enumerate(directions)]
    keys = [key.removeprefix("search.") for key in params if key.startswith("search.")]
    # Reading a thousand runs takes seconds; reading the table of them takes almost no time.
    table = _table(client, study)
    rows = [] if table is None else list(_rows_in(table, len(directions)))
    is_at_work = study.info.status == "RUNNING"
    if table is None or is_at_work:
        rows, runs = _running_study_rows(rows, client, study)
        rows += [_row(run, str(run.info.run_name), keys, scores) for run in runs]
    if any(row.scores and not row.run_id for row in rows):  # the store was down at the study's end
        known = {run.info.run_name: run.info.run_id for run in trials_of(client, study)}
        rows = [replace(row, run_id=known.get(row.name, row.run_id)) for row in rows]
    return Leaderboard(
        title=f"Study {study.info.run_name}",
        scores=("score",) if single else tuple(f"score {at}" for at in range(len(scores))),
        rows=ranked(without_seeds(rows), directions),
        report=lambda: None if table is None or is_at_work else _artifact(client, study, REPORT),
    )


def _running_study_rows(
    rows: list[LeaderboardRow], client: "MlflowClient", study: "MlflowRun"
) -> tuple[list[LeaderboardRow], list["MlflowRun"]]:
    """Return a running study's valid table rows, and the runs that are missing from them.

    If the numbers have gaps, the table covers only one of several sweepers. The rows are dropped
    and all runs are returned then, as they are without a table.
    """
    since = study.data.tags.get(LISTED_AT)
    if rows and since is not None:
        running = trials_of(client, study, "attributes.status = 'RUNNING'")
        ended = trials_of(client, study, f"attributes.end_time >= {since}")
        latest = {run.info.run_id: run for run in [*running, *ended]}
        kept = [row for row in rows if row.run_id and row.run_id not in latest]
        names = {row.name for row in kept} | {run.info.run_name for run in latest.values()}
        if names == {f"trial-{number}" for number in range(len(names))}:
            return kept, list(latest.values())
    return [], trials_of(client, study)


def _table(client: "MlflowClient", study: "MlflowRun") -> Any:
    """Read a study's table of trials; None if there is none or it is being written."""
    try:
        return json.loads(_artifact(client, study, TABLE) or "")
    except ValueError:
        return None


def _artifact(client: "MlflowClient", run: "MlflowRun", name: str) -> str | None:
    from mlflow.exceptions import MlflowException

    try:
        return Path(client.download_artifacts(run.info.run_id, name)).read_text()
    except (MlflowException, OSError):
        return None


def _rows_in(table: Any, objectives: int) -> Iterator[LeaderboardRow]:
    columns = table["columns"]
    values = ["value"] if objectives == 1 else [f"value_{at}" for at in range(objectives)]
    if BREAKS in columns:
        keys = {key.removeprefix(PARAM): key for key in columns if key.startswith(PARAM)}
    else:
        keys = {key: key for key in columns if key not in (*_OLD_COLUMNS, *values)}
    for line in table["data"]:
        cell = dict(zip(columns, line, strict=True))
        scores = tuple(cell[name] for name in values if cell.get(name) is not None)
        was_killed = cell["reason"] == "interrupted"
        yield LeaderboardRow(
            name=f"trial-{cell['trial']}",
            run_id=cell["run_id"],
            state="KILLED" if was_killed else str(_TABLE_STATES.get(cell["state"], cell["state"])),
            scores=scores,
            deviations=tuple(d for d in [cell.get("deviation")] if d is not None),
            steps=cell["steps"],
            seconds=cell["seconds"],
            params={key: "" if cell[at] is None else str(cell[at]) for key, at in keys.items()},
            broken=_broken(cell.get(BREAKS)),
        )


def _broken(told: str | None) -> tuple[str, ...]:
    return tuple(told.split(", ")) if told else ()


def _minimizes(client: "MlflowClient", run: "MlflowRun") -> bool:
    """Return whether lower scores are better, from the config of the run or of its study."""
    mode = run.data.params.get("objective.mode")
    if mode is not None:
        return mode == "min"
    study = client.get_run(run.data.tags[PARENT]) if PARENT in run.data.tags else run
    return study.data.params.get("directions") == "minimize"


def _title(origin: "MlflowRun", run: "MlflowRun") -> str:
    if origin is run:
        return str(run.info.run_name)
    return f"{origin.info.run_name}/{run.info.run_name}"


def _differing(runs: list["MlflowRun"]) -> list[str]:
    """Return the parameters that all runs have and whose values differ between runs.

    A column with the same values as an earlier one, such as an interpolation of it, is omitted.
    A column that varies together with the seed is kept, because rows that differ only in their
    seed are merged as repetitions.
    """
    trained = [run.data.params for run in runs if not is_study(run)]
    shared = [key for key in (trained or [{}])[0] if all(key in params for params in trained)]
    columns: dict[tuple[bool, tuple[str, ...]], str] = {}
    for key in shared:
        values = tuple(params[key] for params in trained)
        if len(set(values)) > 1 and key.rpartition(".")[2] not in _PLACES:
            columns.setdefault((key == SEED, values), key)
    return list(columns.values())


def _row(run: "MlflowRun", name: str, keys: Iterable[str], scores: Sequence[str]) -> LeaderboardRow:
    info, metrics = run.info, run.data.metrics
    steps = metrics.get(STEPS)
    return LeaderboardRow(
        name=name,
        run_id=info.run_id,
        state=PRUNED if "pruned" in run.data.tags else info.status,
        scores=tuple(metrics[key] for key in scores if key in metrics),
        deviations=(metrics[DEVIATION],) if DEVIATION in metrics else (),
        steps=None if steps is None else int(steps),
        seconds=(info.end_time - info.start_time) / 1000 if info.end_time else None,
        params={key: run.data.params.get(key, "") for key in keys},
        broken=_broken(run.data.tags.get(BREAKS)),
    )
