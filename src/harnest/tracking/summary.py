"""What a study's parent run says at the end: the best trial, all trials, how it went."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harnest.tracking.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from harnest.study.listener import StudyFacts, TrialFacts


_STATES = ("complete", "pruned", "fail", "running", "waiting")


def summarise(
    parent: Run,
    study: "StudyFacts",
    trials: Sequence["TrialFacts"],
    run_ids: Mapping[int, str],
) -> None:
    """Write best trial, value and parameters, counts by state, table and history to ``parent``."""
    counts = Counter(trial.state.name.lower() for trial in trials)
    # All states, also those of an earlier session that no trial is in any more.
    parent.tag({f"trials.{state}": str(counts[state]) for state in _STATES})
    finished = [trial for trial in trials if trial.state.name == "COMPLETE"]
    if finished and len(study.directions) == 1:
        best = best_of(finished, study.directions[0])
        parent.tag(
            {
                "best.trial": f"trial-{best.number}",
                "best.run_id": run_ids.get(best.number, ""),
                "best.params": json.dumps(dict(best.params)),
            }
        )
        parent.metrics({"best_value": best.values[0]}, step=len(trials))
        parent.figure(history(finished, study), "history.png")
    _log_table(parent, table(trials, run_ids), "trials.json")


def best_of(finished: Sequence["TrialFacts"], direction: str) -> "TrialFacts":
    """The trial with the best value; the earlier one of equals."""
    sign = 1 if direction == "minimize" else -1
    return min(finished, key=lambda trial: (sign * trial.values[0], trial.number))


def table(trials: Sequence["TrialFacts"], run_ids: Mapping[int, str]) -> dict[str, list[Any]]:
    """All trials by column, as MLflow's tables want them."""
    keys = dict.fromkeys(key for trial in trials for key in trial.params)
    columns: dict[str, list[Any]] = {
        "trial": [trial.number for trial in trials],
        "state": [trial.state.name for trial in trials],
        "value": [trial.values[0] if trial.values else None for trial in trials],
        "steps": [len(trial.steps) for trial in trials],
        "seconds": [t.duration.total_seconds() if t.duration else None for t in trials],
        "reason": [trial.reason or "" for trial in trials],
        "run_id": [run_ids.get(trial.number, "") for trial in trials],
    }
    return columns | {key: [trial.params.get(key) for trial in trials] for key in keys}


def _log_table(run: Run, columns: Mapping[str, Sequence[Any]], name: str) -> None:
    """Write a table as MLflow reads it; its own function would append to the last session's."""
    rows = [[_as_json(cell) for cell in row] for row in zip(*columns.values(), strict=True)]
    run.text(json.dumps({"columns": list(columns), "data": rows}), name)
    run.tag({"mlflow.loggedArtifacts": json.dumps([{"path": name, "type": "table"}])})


def _as_json(cell: Any) -> Any:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def history(finished: Sequence["TrialFacts"], study: "StudyFacts") -> "Figure":
    """Each finished trial's value by number, and the best up to it."""
    from matplotlib.figure import Figure

    better = min if study.directions[0] == "minimize" else max
    numbers = [trial.number for trial in finished]
    values = [trial.values[0] for trial in finished]
    best = [better(values[: index + 1]) for index in range(len(values))]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(numbers, values, "o", label="finished trial")
    axes.step(numbers, best, where="post", label="best so far")
    axes.set(xlabel="trial", ylabel="objective", title=f"study {study.name}")
    axes.legend()
    return figure
