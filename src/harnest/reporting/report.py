"""One page that holds a study: its ranked trials, its figures, and how to repeat it.

The page is one HTML file that needs no network: the drawing library is part of it, once.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harnest.core.paths import BEST_CHECKPOINT
from harnest.core.secrets import redact
from harnest.reporting.rows import LeaderboardRow, ranked, without_seeds

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from harnest.study.events import StudyInfo, TrialInfo

_SHOWN = 25  # rows before the others are folded away

# In the page a figure is as wide as its column.
_CONFIG = {"displaylogo": False, "responsive": True}


@dataclass(frozen=True)
class Report:
    """What a page says: a title, what came of it, facts by name, commands by purpose."""

    title: str
    outcome: str
    objectives: Sequence[str]
    rows: Sequence[LeaderboardRow]
    best: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict)


def study_page(
    study: "StudyInfo",
    trials: Sequence["TrialInfo"],
    rows: Sequence[LeaderboardRow],
    best: "TrialInfo | None",
    asked: Mapping[str, str],
) -> str:
    """The page of one study; ``rows`` are its ``trials``, in any order."""
    from harnest.reporting.study_figures import figures, study_of

    objectives = objective_names(study)
    program, space, arguments = redact(study.command).partition(" ")
    commands = {"go on, or again": f"{Path(program).name}{space}{arguments}"}
    in_words = {}
    if best is not None:
        folder = study.directory / str(best.number)
        in_words = {"best": f"trial-{best.number}", objectives[0]: format_value(best.values[0])}
        in_words |= {key: format_value(value) for key, value in best.params.items()}
        model = folder / BEST_CHECKPOINT
        if model.is_file():  # it is one of the trainer's
            in_words["weights"] = str(model)
            commands["repeat the best"] = f"harnest-rerun {folder}"
            commands["test and register it"] = f"harnest-promote {study.directory}"
    report = Report(
        title=f"Study {study.name}",
        outcome=f"{outcome_counts(rows)}, of a budget of {study.budget}",
        objectives=objectives,
        rows=ranked(without_seeds(rows), study.directions),
        best=in_words,
        commands=commands,
        facts={
            **{name: value for name, value in asked.items() if name != "command"},
            **{f"search {key}": _distribution(one) for key, one in study.space.items()},
            "fixed": " ".join(redact(line) for line in study.fixed),
        },
    )
    return page(report, figures(study_of(trials, study.directions, study.space), objectives))


def objective_names(study: "StudyInfo") -> list[str]:
    """What a study's objectives are called, one for each; unnamed ones by their number."""
    if study.metric_names:
        return list(study.metric_names)
    single = len(study.directions) == 1
    return ["objective"] if single else [f"objective {at}" for at in range(len(study.directions))]


def outcome_counts(rows: Sequence[LeaderboardRow]) -> str:
    """How many trials there are, and how they ended."""
    states = Counter(row.state.lower() for row in rows)
    return f"{len(rows)} trials: {', '.join(f'{n} {state}' for state, n in states.items())}"


def format_value(value: Any) -> str:
    """A parameter or score as a person wants to read it."""
    return f"{value:.4g}" if isinstance(value, float) else redact(str(value))


def page(report: Report, figures: Iterable[tuple[str, "go.Figure"]]) -> str:
    """Typeset a report and its figures, each with its title, as one HTML page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    drawn = {
        title: figure.to_html(full_html=False, include_plotlyjs=False, config=_CONFIG)
        for title, figure in figures
    }
    environment = Environment(
        loader=PackageLoader("harnest.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    heads, lines = as_table(report.rows, report.objectives)
    return environment.get_template("report.html.j2").render(
        report=report,
        heads=heads,
        lines=lines,
        shown=_SHOWN,
        figures=drawn,
        library=get_plotlyjs() if drawn else "",
    )


def as_table(
    rows: Sequence[LeaderboardRow], objectives: Sequence[str], is_exact: bool = False
) -> tuple[list[str], list[list[str]]]:
    """Headings, and the rows as text, in the columns that all of them together need.

    Where it ``is_exact``, scores and times have every digit.
    """
    score, time = ("", "") if is_exact else (".4f", ".1f")
    spread = any(row.deviations for row in rows)
    several = any(row.seeds > 1 for row in rows)
    keys = list(dict.fromkeys(key for row in rows for key in row.params))
    scores = [part for name in objectives for part in ((name, "±") if spread else (name,))]
    seeds = ["seeds"] if several else []
    heads = ["run", "state", *scores, *seeds, "epochs", "seconds", *keys, "run id"]
    lines = [
        [
            row.name,
            _state(row),
            *_scores(row, len(objectives), spread, score),
            *([str(row.seeds)] if several else []),
            "" if row.steps is None else str(row.steps),
            "" if row.seconds is None else format(row.seconds, time),
            *(row.params.get(key, "") for key in keys),
            row.run_id,
        ]
        for row in rows
    ]
    return heads, lines


def _state(row: LeaderboardRow) -> str:
    if row.broken:
        return f"{row.state}, breaks {', '.join(row.broken)}"
    return "FRONT" if row.is_on_front else row.state


def _scores(row: LeaderboardRow, count: int, spread: bool, form: str) -> list[str]:
    """Scores, each with its deviation where some row has one; a row may have fewer of those."""
    cells: list[str] = []
    for at in range(count):
        cells.append(format(row.scores[at], form) if row.scores else "")
        if spread:
            cells.append(format(row.deviations[at], form) if at < len(row.deviations) else "")
    return cells


def _distribution(described: Any) -> str:
    """A searched distribution in words, from Optuna's description, or several by condition."""
    if "attributes" not in described:
        return "; ".join(f"{_distribution(one)} where {when}" for when, one in described.items())
    about = described["attributes"]
    if "choices" in about:
        return ", ".join(map(str, about["choices"]))
    step = f", in steps of {about['step']}" if about.get("step") else ""
    return f"{about['low']} to {about['high']}{step}{', log' if about.get('log') else ''}"
