"""Contents of a study's parent run: progress while it runs, a summary at its end."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from harnest.reporting.report import format_value, objective_names, outcome_counts, study_page
from harnest.reporting.rows import FINISHED, LeaderboardRow
from harnest.study.ranking import best_trial
from harnest.tracking.outbox.operations import now
from harnest.tracking.run_writer import BREAKS, NOTE, RunWriter

if TYPE_CHECKING:
    from harnest.study.events import StudyInfo, TrialInfo

#: Artifacts of the parent run: the table of trials and the HTML report.
TABLE, REPORT = "trials.json", "report.html"

#: Prefix of a parameter's column in the table, because a parameter may be called ``steps``, too.
PARAM = "params."

#: Tag of a running study's parent run: a time in milliseconds since 1970. The table contains all
#: trials that ended before it.
LISTED_AT = "trials.listed_at"

_AT_ONCE = 50  # how many trials end between two updates of a running study's table

_STATES = ("complete", "pruned", "fail", "running", "waiting")
_RUN_STATES = {"COMPLETE": FINISHED, "FAIL": "FAILED"}  # Optuna's states to MLflow's


def show_progress(parent: RunWriter, study: "StudyInfo", trials: Sequence["TrialInfo"]) -> None:
    """Record the best value so far and the number of trials in each state.

    The step of the best value is the number of ended trials. With several objectives each has its
    own best value.

    Args:
        parent: The parent run.
        study: The study.
        trials: All trials of the study.
    """
    counts = Counter(trial.state.name.lower() for trial in trials)
    # All states, to overwrite a count from an earlier session that is now zero.
    parent.tag({f"trials.{state}": str(counts[state]) for state in _STATES})
    values = [trial.values for trial in _feasible(trials)]
    if values:
        single = len(study.directions) == 1
        best = {
            "best_value" if single else f"best_value_{at}": _better(way)(one[at] for one in values)
            for at, way in enumerate(study.directions)
        }
        parent.metrics(best, step=sum(trial.state.is_finished() for trial in trials))


def show_started(parent: RunWriter, study: "StudyInfo", trials: Sequence["TrialInfo"]) -> None:
    """Describe a running study in the UI, replacing an earlier session's description.

    Args:
        parent: The parent run.
        study: The study.
        trials: All trials of the study.
    """
    counts = Counter(trial.state.name.lower() for trial in trials if trial.state.name != "WAITING")
    told = ", ".join(f"{counts[state]} {state}" for state in _STATES if counts[state])
    parent.tag({NOTE: f"{counts.total()} of {study.budget} trials have begun: {told}"})


def append_ended(
    parent: RunWriter, trials: Sequence["TrialInfo"], runs: Mapping[int, RunWriter]
) -> None:
    """Update the table of ended trials once every `_AT_ONCE` trials: reading all runs takes long.

    Args:
        parent: The parent run.
        trials: All trials of the study.
        runs: The trials' runs, by trial number.
    """
    ended = [trial for trial in trials if trial.state.is_finished()]
    if len(ended) % _AT_ONCE == 0:
        time = now()
        run_ids = {number: run.run_id for number, run in runs.items()}
        _log_table(parent, table(ended, run_ids), TABLE)
        parent.tag({LISTED_AT: str(time)})


def import_libraries() -> None:
    """Import the libraries that `summarize` needs, which takes longer than the summary itself.

    Raises:
        ImportError: One of them is not installed.
    """
    for name in ("harnest.reporting.study_figures", "matplotlib.figure", "optuna.importance"):
        import_module(name)


def summarize(
    parent: RunWriter,
    study: "StudyInfo",
    trials: Sequence["TrialInfo"],
    run_ids: Mapping[int, str],
    asked: Mapping[str, str],
    experiment: str,
) -> None:
    """Write the best trial, the table of trials, the figures and the report to ``parent``.

    The store is not queried: it may not answer, and may not know all runs yet.

    Args:
        parent: The parent run.
        study: The study.
        trials: All trials of the study.
        run_ids: MLflow's IDs of the trials' runs, by trial number.
        asked: The study's settings by name, which the report repeats.
        experiment: ID of the experiment, for a link to the best run.
    """
    show_progress(parent, study, trials)
    best = best_trial(trials, study.directions)
    rows = [_row(trial, run_ids.get(trial.number, "")) for trial in trials]
    if best is not None:
        run_id = run_ids.get(best.number, "")  # if empty, still overwrites an earlier session's
        parent.tag(
            {
                "best.trial": f"trial-{best.number}",
                "best.run_id": run_id,
                "best.params": json.dumps(dict(best.params)),
            }
        )
        _log_history(parent, trials, study)
    _log_table(parent, table(trials, run_ids), TABLE)
    parent.text(study_page(study, trials, rows, best, asked), REPORT)
    parent.tag({NOTE: _note(rows, best, objective_names(study), experiment)})


def table(trials: Sequence["TrialInfo"], run_ids: Mapping[int, str]) -> dict[str, list[Any]]:
    """Return all trials as columns in the format of MLflow's tables.

    The objective's column is ``value``, or ``value_0``, ``value_1``, ... if there are several.
    ``deviation`` is that of the first objective, if a trial is the mean of several replicates.
    Each parameter's column is its key prefixed with ``params.``.
    """
    keys = dict.fromkeys(key for trial in trials for key in trial.params)
    objectives = max((len(trial.values) for trial in trials), default=0)
    names = ["value"] if objectives < 2 else [f"value_{at}" for at in range(objectives)]
    columns: dict[str, list[Any]] = {
        "trial": [trial.number for trial in trials],
        "state": [trial.state.name for trial in trials],
        **{
            name: [trial.values[at] if trial.values else None for trial in trials]
            for at, name in enumerate(names)
        },
        "deviation": [trial.deviation for trial in trials],
        "steps": [len(trial.steps) for trial in trials],
        "seconds": [_seconds(trial) for trial in trials],
        "reason": [trial.reason or "" for trial in trials],
        BREAKS: [", ".join(trial.broken) for trial in trials],
        "run_id": [run_ids.get(trial.number, "") for trial in trials],
    }
    return columns | {PARAM + key: [trial.params.get(key) for trial in trials] for key in keys}


def _row(trial: "TrialInfo", run_id: str) -> LeaderboardRow:
    return LeaderboardRow(
        name=f"trial-{trial.number}",
        run_id=run_id,
        state=_RUN_STATES.get(trial.state.name, trial.state.name),
        scores=trial.values,
        deviations=() if trial.deviation is None else (trial.deviation,),
        steps=len(trial.steps),
        seconds=_seconds(trial),
        params={key: format_value(value) for key, value in trial.params.items()},
        broken=trial.broken,
    )


def _log_table(run: RunWriter, columns: Mapping[str, Sequence[Any]], name: str) -> None:
    """Log a table in MLflow's format; MLflow's own function appends to an earlier session's."""
    rows = [[_as_json(cell) for cell in row] for row in zip(*columns.values(), strict=True)]
    run.text(json.dumps({"columns": list(columns), "data": rows}), name)
    run.tag({"mlflow.loggedArtifacts": json.dumps([{"path": name, "type": "table"}])})


def _as_json(cell: Any) -> Any:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def _log_history(parent: RunWriter, trials: Sequence["TrialInfo"], study: "StudyInfo") -> None:
    """Plot the values of valid trials by number, the best value so far, and pruned trials.

    Pruned trials are shown at the last value that they reported. This is the only figure that is
    also an image file, because the UI shows images without opening the report.
    """
    from matplotlib.figure import Figure

    from harnest.reporting.study_figures import PRUNED, last_reported

    better = _better(study.directions[0])
    kept = _feasible(trials)
    numbers = [trial.number for trial in kept]
    values = [trial.values[0] for trial in kept]
    best = [better(values[: index + 1]) for index in range(len(values))]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(numbers, values, "o", label="finished trial")
    axes.step(numbers, best, where="post", label="best so far")
    pruned = [
        (trial.number, value) for trial in trials if (value := last_reported(trial)) is not None
    ]
    if pruned:
        axes.plot(*zip(*pruned, strict=True), "x", color="grey", label=PRUNED)
    name = objective_names(study)[0]
    axes.set(xlabel="trial", ylabel=name, title=f"study {study.name}")
    axes.legend()
    parent.figure(figure, "history.png")


def _note(
    rows: Sequence[LeaderboardRow],
    best: "TrialInfo | None",
    objectives: Sequence[str],
    experiment: str,
) -> str:
    """Return the parent run's description in the UI: its best trial with a link, and the report."""
    lines = [outcome_counts(rows)]
    if best is not None:
        row = next(row for row in rows if row.name == f"trial-{best.number}")
        there = f"#/experiments/{experiment}/runs/{row.run_id}"
        link = f"[{row.name}]({there})" if row.run_id else row.name
        value = f"{objectives[0]} = {best.values[0]:.4f}"
        params = ", ".join(f"{key} = `{value}`" for key, value in row.params.items())
        lines.append(f"**Best: {link}**, {value}, with {params}")
    lines.append(f"Figures and the ranked table of all trials: the artifact `{REPORT}`.")
    return "\n\n".join(lines)


def _feasible(trials: Sequence["TrialInfo"]) -> list["TrialInfo"]:
    """Return the complete trials that violate no constraint."""
    return [trial for trial in trials if trial.state.name == "COMPLETE" and not trial.broken]


def _better(direction: str) -> Any:
    return min if direction == "minimize" else max


def _seconds(trial: "TrialInfo") -> float | None:
    return trial.duration.total_seconds() if trial.duration else None
