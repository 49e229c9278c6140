"""Terminal output of a study: a line per event, and a ranked table at the end."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from optuna.trial import TrialState
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harnest.core.command_line import command_for
from harnest.core.failure import INTERRUPTED
from harnest.core.terminal_width import available_width, dropped_columns, fit_columns, truncate
from harnest.study.callback import StudyCallback
from harnest.study.console.formatting import (
    COLOURS,
    duration_text,
    ending_text,
    named_scores,
    params_text,
    plain_value_of,
    progress,
    scores,
    short_keys,
)
from harnest.study.console.live_table import LiveTable
from harnest.study.events import StudyInfo, TrialInfo
from harnest.study.outcome import Outcome
from harnest.study.ranking import rank_trials

_ENDLESS = 9999  # characters of a line


class Terminal(StudyCallback):
    """Hears of a study's events and prints them."""

    def __init__(self) -> None:
        # FORCE_COLOR, set by CI and notebooks, asks for colours, not for a live table.
        moves = None if sys.stdout.isatty() else False
        self.console = Console(highlight=False, soft_wrap=True, force_interactive=moves)
        self._live: LiveTable | None = None

    def on_study_start(self, study: StudyInfo, trials: Sequence[TrialInfo]) -> None:
        """Print what is searched, and how many trials exist already."""
        self.study = study
        self._counted: set[int] = set()
        self._best: TrialInfo | None = None
        for trial in trials:
            self._count(trial)
        self.console.print(
            f"[bold]study {study.name}[/]: {study.budget} trials, {_goal(study)}{study.sampler}, "
            f"{study.pruner}, in {escape(str(study.directory))}",
            soft_wrap=not self.console.is_terminal,  # between words
        )
        done = len(self._counted)
        if done >= study.budget:
            self.console.print(f"  complete: all {done} trials are done")
        elif any(trial.state.is_finished() for trial in trials):
            self.console.print(f"  resuming: {done} of {study.budget} trials done")

    @contextmanager
    def live(self, trials: Callable[[], list[TrialInfo]], slots: int) -> Iterator[None]:
        """Show the live table inside the context, on an interactive terminal only."""
        if not self.console.is_interactive:
            yield
            return
        metric = ", ".join(self.study.metric_names) or "score"
        self._live = LiveTable(self.console, trials, slots, self.study.budget, metric)
        self._live.start()
        try:
            yield
        finally:
            self._live.stop()
            self._live = None

    def on_trial_start(self, trial: TrialInfo, directory: Path) -> Mapping[str, str]:
        """Say what is tried."""
        if self._live is not None:
            self._live.begin(trial.number)
        else:
            shown = params_text(trial.params)
            self.console.print(f"[dim]trial {trial.number} started[/]   {shown}")
        return {}

    def on_replicates_created(self, trial: TrialInfo) -> None:
        """Its slot is free for its replicates."""
        if self._live is not None:
            self._live.start_replicates(trial.number)

    def on_replicate_start(self, trial: TrialInfo, name: str, directory: Path) -> Mapping[str, str]:
        """Say which replicate of a trial begins."""
        if self._live is not None:
            self._live.begin(trial.number, name)
        else:
            self.console.print(f"[dim]trial {trial.number} {name} started[/]")
        return {}

    def on_replicate_end(self, trial: TrialInfo, name: str, directory: Path, end: Outcome) -> None:
        """Print the replicate's score or error."""
        if self._live is not None:
            self._live.end(trial.number, name)
        score = ", ".join(f"{value:.4f}" for value in end.values)
        message = end.failure.message if end.failure else ""
        self.console.print(f"trial {trial.number} {name} {score or message}", markup=False)

    def on_trial_end(self, trial: TrialInfo, directory: Path) -> None:
        """Print the trial's result, and the best trial so far."""
        self._count(trial)
        if self._live is not None:
            self._live.end(trial.number)
        parts = [
            Text(f"trial {trial.number} {ending_text(trial)}", COLOURS[trial.state]),
            Text(scores(trial)),
            Text(_after(trial)),
            Text(_duration(trial)),
            Text(trial.message or "", "red"),
            Text(self._best_so_far(), "bold"),
            Text(f"{len(self._counted)}/{self.study.budget}", "dim"),
        ]
        line = Text("   ").join(part for part in parts if part)
        self.console.print(line, soft_wrap=not self.console.is_terminal)

    def on_study_end(self, trials: Sequence[TrialInfo], complete: bool) -> list[str]:
        """Print the ranked table and the winner, or those that none beats in every objective."""
        in_order = rank_trials(trials, self.study.directions)
        self.console.print()
        self._print_table(in_order)
        several = len(self.study.directions) > 1
        best = [trial for trial in in_order if trial.is_best]
        for trial in best if several else best[:1]:
            word = "best (none beats it in everything)" if several else "best"
            described = named_scores(trial, self.study.metric_names), params_text(trial.params)
            self.console.print(
                f"{word}: trial {trial.number}, {', '.join(filter(None, described))}"
            )
        end = "complete" if complete else "not complete; the same command resumes it"
        self.console.print(f"\n[bold]study {self.study.name} is {end}[/]")
        hints = [f"compare: {command_for('harnest-compare')} {self.study.directory}"]
        if not complete:
            hints.append(f"go on:   {self.study.command}")
        elif not self.study.is_grid:
            command = re.sub(r" hydra\.sweeper\.n_trials=\d+", "", self.study.command)
            hints.append(f"extend:  {command} hydra.sweeper.n_trials={2 * self.study.budget}")
        return hints

    def _print_table(self, trials: Sequence[TrialInfo]) -> None:
        width = available_width()
        shown, missing = table(trials, ", ".join(self.study.metric_names) or "score", width)
        # A file gets it whole, however narrow it seems.
        self.console.print(shown, soft_wrap=False, width=width or _ENDLESS)
        if missing:
            self.console.print(f"[dim]{escape(missing)}; harnest-compare --format csv has all[/]")

    def show_failure(self, trial: TrialInfo) -> None:
        """Print what went wrong in a trial, in full."""
        self.console.print(trial.details or trial.message or "", markup=False)

    def show(self, hints: Sequence[str]) -> None:
        """Print what to do next."""
        for hint in hints:
            self.console.print(f"  {hint}", markup=False)

    def _count(self, trial: TrialInfo) -> None:
        """Take note of a trial, once: to go through all at each end takes the longer the more."""
        if trial.state.is_finished() and trial.reason != INTERRUPTED:
            self._counted.add(trial.number)
        if trial.state is TrialState.COMPLETE and not trial.broken:
            sign = _sign(self.study.directions)
            rivals = [trial] if self._best is None else [self._best, trial]
            self._best = min(rivals, key=lambda one: (sign * one.values[0], one.number))

    def _best_so_far(self) -> str:
        if self._best is None or len(self.study.directions) > 1:
            return ""
        return f"best {scores(self._best)} (trial {self._best.number})"


def _goal(study: StudyInfo) -> str:
    """What is to be minimal or maximal, where that has a name."""
    aims = zip(study.directions, study.metric_names, strict=False)
    return "".join(f"{direction} {escape(name)}, " for direction, name in aims)


def _after(trial: TrialInfo) -> str:
    """How far the trial got; if it was pruned, after which epoch."""
    text = progress(trial)
    return f"after {text}" if text and trial.state is TrialState.PRUNED else text


def table(
    trials: Sequence[TrialInfo], score: str = "score", width: int | None = None
) -> tuple[Table, str]:
    """Build the ranked table, and a line that names the columns that did not fit.

    Columns are number, state, score, epochs, time and the searched parameters. If ``width`` is too
    small, epochs and time are dropped before parameters.
    """
    keys = list(dict.fromkeys(key for trial in trials for key in trial.params))
    has_replicates = any(trial.replicates for trial in trials)
    heads = ["trial", "state", score, "runs" if has_replicates else "epochs", "time"]
    heads += [short_keys(key, keys) for key in keys]
    lines = [
        [
            str(trial.number),
            ending_text(trial),
            scores(trial),
            _count(trial, has_replicates),
            _duration(trial),
            *(plain_value_of(trial.params.get(key, "")) for key in keys),
        ]
        for trial in trials
    ]
    importance = [0, 1, 2, *range(5, len(heads)), 3, 4]
    columns = fit_columns(heads, lines, importance, width)
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for at, size in columns.items():
        justify: Literal["left", "right"] = "left" if at < 2 else "right"
        shown.add_column(
            escape(truncate(heads[at], size)), justify=justify, no_wrap=True, width=size
        )
    for trial, line in zip(trials, lines, strict=True):
        colours = ["", COLOURS[trial.state]]
        shown.add_row(
            *(
                Text(truncate(line[at], size), colours[at] if at < len(colours) else "")
                for at, size in columns.items()
            )
        )
    return shown, dropped_columns(heads, columns)


def _count(trial: TrialInfo, has_replicates: bool) -> str:
    """Its epochs; among trials of several runs, its runs."""
    if not has_replicates:
        return str(len(trial.steps) or "")
    return progress(trial).removesuffix(" runs").replace(" of ", "/")


def _sign(directions: Sequence[str]) -> int:
    """What makes the first objective one where less is better."""
    return -1 if directions[0] == "maximize" else 1


def _duration(trial: TrialInfo) -> str:
    return "" if trial.duration is None else duration_text(trial.duration.total_seconds())
