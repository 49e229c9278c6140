"""What a study shows in the terminal: what runs, a line per event, a ranked table at the end."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from optuna.trial import TrialState
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harnest.failure import INTERRUPTED
from harnest.programs import program
from harnest.study.listener import StudyFacts, TrialFacts
from harnest.study.live import LiveTable
from harnest.study.outcome import Outcome
from harnest.study.wording import COLOURS, ending, scores, setting, short, span, value_of
from harnest.wide import print_wide


class Terminal:
    """Hears of a study's events and prints them."""

    def __init__(self) -> None:
        # FORCE_COLOR, which CI and notebooks set, asks for colours, not for a table in motion.
        moves = None if sys.stdout.isatty() else False
        self.console = Console(highlight=False, soft_wrap=True, force_interactive=moves)
        self._live: LiveTable | None = None

    def on_study_start(self, study: StudyFacts, trials: Sequence[TrialFacts]) -> None:
        """Say what will be searched, and what is there already."""
        self.study = study
        self._counted: set[int] = set()
        self._best: TrialFacts | None = None
        for trial in trials:
            self._count(trial)
        self.console.print(
            f"[bold]study {study.name}[/]: {study.budget} trials, {study.sampler}, "
            f"{study.pruner}, in {escape(str(study.directory))}"
        )
        ended = [trial for trial in trials if trial.state.is_finished()]
        if ended:
            self.console.print(f"  goes on after {len(ended)} trials")

    @contextmanager
    def live(self, trials: Callable[[], list[TrialFacts]], slots: int) -> Iterator[None]:
        """Show what runs on ``slots`` inside, where somebody watches: not in a file or in CI."""
        if not self.console.is_interactive:
            yield
            return
        self._live = LiveTable(self.console, trials, slots, self.study.budget)
        self._live.start()
        try:
            yield
        finally:
            self._live.stop()
            self._live = None

    def on_trial_start(self, trial: TrialFacts, directory: Path) -> Mapping[str, str]:
        """Say what is tried."""
        if self._live is not None:
            self._live.begin(trial.number)
        else:
            shown = setting(trial.params)
            self.console.print(f"[dim]trial {trial.number} started[/]   {shown}")
        return {}

    def on_member_start(self, trial: TrialFacts, name: str, directory: Path) -> Mapping[str, str]:
        """Say which member of a trial begins."""
        if self._live is not None:
            self._live.end(trial.number)  # the job that named the members
            self._live.begin(trial.number, name)
        else:
            self.console.print(f"[dim]trial {trial.number} {name} started[/]")
        return {}

    def on_member_end(self, trial: TrialFacts, name: str, directory: Path, end: Outcome) -> None:
        """Say what came of it."""
        if self._live is not None:
            self._live.end(trial.number, name)
        score = ", ".join(f"{value:.4f}" for value in end.values)
        message = end.failure.message if end.failure else ""
        self.console.print(f"trial {trial.number} {name} {score or message}", markup=False)

    def on_trial_end(self, trial: TrialFacts, directory: Path) -> None:
        """Say what came of it, and which is the best so far."""
        self._count(trial)
        if self._live is not None:
            self._live.end(trial.number)
        parts = [
            Text(f"trial {trial.number} {ending(trial)}", COLOURS[trial.state]),
            Text(scores(trial)),
            Text(f"{len(trial.steps)} epochs" if trial.steps else ""),  # a job need not report
            Text(_took(trial)),
            Text(trial.message or "", "red"),
            Text(self._best_so_far(), "bold"),
            Text(f"{len(self._counted)}/{self.study.budget}", "dim"),
        ]
        self.console.print(Text("   ").join(part for part in parts if part))

    def on_study_end(self, trials: Sequence[TrialFacts], complete: bool) -> list[str]:
        """Print the ranked table and the winner, or those that none beats in every objective."""
        in_order = ranked(trials, self.study.directions)
        self.console.print()
        print_wide(table(in_order))
        several = len(self.study.directions) > 1
        best = [trial for trial in in_order if trial.is_best]
        for trial in best if several else best[:1]:
            word = "best (none beats it in everything)" if several else "best"
            self.console.print(
                f"{word}: trial {trial.number}, {scores(trial)}, {setting(trial.params)}"
            )
        end = "complete" if complete else "not complete; the same command goes on"
        self.console.print(f"\n[bold]study {self.study.name} is {end}[/]")
        hints = [f"compare: {program('harnest-compare')} {self.study.directory}"]
        if not complete:
            hints.append(f"go on:   {self.study.command}")
        elif not self.study.is_grid:
            command = re.sub(r" hydra\.sweeper\.n_trials=\d+", "", self.study.command)
            hints.append(f"extend:  {command} hydra.sweeper.n_trials={2 * self.study.budget}")
        return hints

    def show_failure(self, trial: TrialFacts) -> None:
        """Print what went wrong in a trial, in full."""
        self.console.print(trial.details or trial.message or "", markup=False)

    def show(self, hints: Sequence[str]) -> None:
        """Print what to do next."""
        for hint in hints:
            self.console.print(f"  {hint}", markup=False)

    def _count(self, trial: TrialFacts) -> None:
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


def ranked(trials: Sequence[TrialFacts], directions: Sequence[str]) -> list[TrialFacts]:
    """Finished trials, best first, then pruned ones, then the rest.

    Those that no other beats come first, and those that break a constraint last; otherwise the
    first objective decides.
    """
    sign = _sign(directions)
    order = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.FAIL]

    def key(trial: TrialFacts) -> tuple[int, bool, bool, float, int]:
        place = order.index(trial.state) if trial.state in order else len(order)
        values = trial.values or tuple(trial.steps.values())[-1:]
        score = sign * values[0] if values else 0.0
        return place, not trial.is_best, bool(trial.broken), score, trial.number

    return sorted(trials, key=key)


def table(trials: Sequence[TrialFacts]) -> Table:
    """One row per trial: number, state, score, epochs, time, and the searched parameters."""
    keys = list(dict.fromkeys(key for trial in trials for key in trial.params))
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("trial", "state"):
        shown.add_column(heading, no_wrap=True)
    for heading in ("score", "epochs", "time", *(short(key, keys) for key in keys)):
        shown.add_column(heading, justify="right", no_wrap=True)
    for trial in trials:
        shown.add_row(
            str(trial.number),
            Text(ending(trial), COLOURS[trial.state]),
            scores(trial),
            str(len(trial.steps) or ""),
            _took(trial),
            *(value_of(trial.params.get(key, "")) for key in keys),
        )
    return shown


def _sign(directions: Sequence[str]) -> int:
    """What makes the first objective one where less is better."""
    return -1 if directions[0] == "maximize" else 1


def _took(trial: TrialFacts) -> str:
    return "" if trial.duration is None else span(trial.duration.total_seconds())
