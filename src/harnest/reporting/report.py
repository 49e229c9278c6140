"""The HTML report of a study: its ranked trials, its figures, and how to repeat it.

The report is one file that needs no network: it contains the plotting library once.
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

_SHOWN = 25  # rows that are visible; the others are collapsed

# Responsive: a figure fills the width of its column.
_CONFIG = {"displaylogo": False, "responsive": True}


@dataclass(frozen=True)
class Report:
    """Content of a report: title, outcome, ranked rows, facts by name, and commands by purpose."""

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
    """Return the HTML report of one study.

    Args:
        study: The study.
        trials: All trials of the study.
        rows: The rows of ``trials``, in any order.
        best: The best trial; None if there is none.
        asked: The study's settings by name, for the report's facts.
    """
    from harnest.reporting.study_figures import figures, to_optuna_study

    objectives = objective_names(study)
    program, space, arguments = redact(study.command).partition(" ")
    commands = {"go on, or again": f"{Path(program).name}{space}{arguments}"}
    in_words = {}
    if best is not None:
        folder = study.directory / str(best.number)
        in_words = {"best": f"trial-{best.number}", objectives[0]: format_value(best.values[0])}
        in_words |= {key: format_value(value) for key, value in best.params.items()}
        model = folder / BEST_CHECKPOINT
        if model.is_file():  # other applications' jobs leave no such checkpoint
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
    return page(report, figures(to_optuna_study(trials, study.directions, study.space), objectives))


def objective_names(study: "StudyInfo") -> list[str]:
    """Return the names of a study's objectives; unnamed ones are numbered."""
    if study.metric_names:
        return list(study.metric_names)
    single = len(study.directions) == 1
    return ["objective"] if single else [f"objective {at}" for at in range(len(study.directions))]


def outcome_counts(rows: Sequence[LeaderboardRow]) -> str:
    """Return the number of trials, in total and per state, as text."""
    states = Counter(row.state.lower() for row in rows)
    return f"{len(rows)} trials: {', '.join(f'{n} {state}' for state, n in states.items())}"


def format_value(value: Any) -> str:
    """Format a parameter or score for display; secrets are masked."""
    return f"{value:.4g}" if isinstance(value, float) else redact(str(value))


def page(report: Report, figures: Iterable[tuple[str, "go.Figure"]]) -> str:
    """Render a report and its figures, each with its title, as one HTML page."""
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
    """Return the headings and the rows as text.

    Args:
        rows: The rows. The columns are those that any of them needs.
        objectives: Headings of the scores, one per objective.
        is_exact: Whether scores and times keep all digits.

    Returns:
        The headings, and the cells of each row.
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
    """Return the cells of the scores, each followed by its deviation if any row has one."""
    cells: list[str] = []
    for at in range(count):
        cells.append(format(row.scores[at], form) if row.scores else "")
        if spread:
            cells.append(format(row.deviations[at], form) if at < len(row.deviations) else "")
    return cells


def _distribution(described: Any) -> str:
    """Describe a search distribution, given as Optuna's JSON, or several by condition."""
    if "attributes" not in described:
        return "; ".join(f"{_distribution(one)} where {when}" for when, one in described.items())
    about = described["attributes"]
    if "choices" in about:
        return ", ".join(map(str, about["choices"]))
    step = f", in steps of {about['step']}" if about.get("step") else ""
    return f"{about['low']} to {about['high']}{step}{', log' if about.get('log') else ''}"
