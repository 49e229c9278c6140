"""What a study shows in the terminal: a line per event, and a ranked table at the end."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.trial import TrialState
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harnest.programs import program
from harnest.study.listener import StudyFacts, TrialFacts
from harnest.wide import print_wide

_COLOURS = {
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.FAIL: "red",
    TrialState.RUNNING: "blue",
    TrialState.WAITING: "dim",
}


class Terminal:
    """Hears of a study's events and prints them."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)

    def on_study_start(self, study: StudyFacts, trials: Sequence[TrialFacts]) -> None:
        """Say what will be searched, and what is there already."""
        self.study = study
        self.trials = {trial.number: trial for trial in trials}
        self.console.print(
            f"[bold]study {study.name}[/]: {study.budget} trials, {study.sampler}, "
            f"{study.pruner}, in {escape(str(study.directory))}"
        )
        ended = [trial for trial in trials if trial.state.is_finished()]
        if ended:
            self.console.print(f"  goes on after {len(ended)} trials")

    def on_trial_start(self, trial: TrialFacts, directory: Path) -> Mapping[str, str]:
        """Say what is tried."""
        self.console.print(f"[dim]trial {trial.number} started[/]   {_shown(trial.params)}")
        return {}

    def on_trial_end(self, trial: TrialFacts, directory: Path) -> None:
        """Say what came of it, and which is the best so far."""
        self.trials[trial.number] = trial
        counted = sum(
            t.state.is_finished() and t.reason != "interrupted" for t in self.trials.values()
        )
        parts = [
            Text(f"trial {trial.number} {describe(trial)}", _COLOURS[trial.state]),
            Text(_scores(trial)),
            Text(f"{len(trial.steps)} epochs"),
            Text(_seconds(trial)),
            Text(trial.message or "", "red"),
            Text(self._best(), "bold"),
            Text(f"{counted}/{self.study.budget}", "dim"),
        ]
        self.console.print(Text("   ").join(part for part in parts if part))

    def on_study_end(self, trials: Sequence[TrialFacts], complete: bool) -> list[str]:
        """Print the ranked table and the winner."""
        in_order = ranked(trials, self.study.directions)
        self.console.print()
        print_wide(table(in_order))
        first = next((trial.details for trial in trials if trial.details), None)
        if first is not None and not any(t.state is TrialState.COMPLETE for t in trials):
            self.console.print(first, markup=False)
        for best in [trial for trial in in_order if trial.state is TrialState.COMPLETE][:1]:
            self.console.print(f"best: trial {best.number}, {_scores(best)}, {_shown(best.params)}")
        end = "complete" if complete else "not complete; the same command goes on"
        self.console.print(f"\n[bold]study {self.study.name} is {end}[/]")
        hints = [f"compare: {program('harnest-compare')} {self.study.directory}"]
        if not complete:
            hints.append(f"go on:   {self.study.command}")
        elif not self.study.is_grid:
            more = f"hydra.sweeper.n_trials={2 * self.study.budget}"
            hints.append(f"extend:  {self.study.command} {more}")
        return hints

    def show(self, hints: Sequence[str]) -> None:
        """Print what to do next."""
        for hint in hints:
            self.console.print(f"  {hint}", markup=False)

    def _best(self) -> str:
        finished = [t for t in self.trials.values() if t.state is TrialState.COMPLETE]
        if not finished:
            return ""
        best = ranked(finished, self.study.directions)[0]
        return f"best {_scores(best)} (trial {best.number})"


def ranked(trials: Sequence[TrialFacts], directions: Sequence[str]) -> list[TrialFacts]:
    """Finished trials, best first by the first objective, then pruned ones, then the rest."""
    sign = -1 if directions[0] == "maximize" else 1
    order = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.FAIL]

    def key(trial: TrialFacts) -> tuple[int, float, int]:
        place = order.index(trial.state) if trial.state in order else len(order)
        values = trial.values or tuple(trial.steps.values())[-1:]
        return place, sign * values[0] if values else 0.0, trial.number

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
            Text(describe(trial), _COLOURS[trial.state]),
            _scores(trial),
            str(len(trial.steps)),
            _seconds(trial),
            *(_value(trial.params.get(key, "")) for key in keys),
        )
    return shown


def describe(trial: TrialFacts) -> str:
    """How a trial ended, in a word or three."""
    if trial.state is TrialState.COMPLETE:
        return "finished"
    if trial.state is TrialState.PRUNED:
        return f"pruned at {trial.pruned_at}" if trial.pruned_at is not None else "pruned"
    if trial.state is TrialState.FAIL:
        return "interrupted" if trial.reason == "interrupted" else f"failed ({trial.reason})"
    return trial.state.name.lower()


def short(key: str, keys: Sequence[str]) -> str:
    """The last part of a dotted key, where no other key ends in the same."""
    last = key.rpartition(".")[2]
    return last if sum(k.rpartition(".")[2] == last for k in keys) == 1 else key


def _shown(params: Mapping[str, Any]) -> str:
    keys = list(params)
    return " ".join(f"{short(key, keys)}={_value(value)}" for key, value in params.items())


def _value(value: Any) -> str:
    # Brackets mean lists here, and styles to rich.
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def _scores(trial: TrialFacts) -> str:
    values = trial.values or tuple(trial.steps.values())[-1:]
    return ", ".join(f"{value:.4f}" for value in values)


def _seconds(trial: TrialFacts) -> str:
    return "" if trial.duration is None else f"{trial.duration.total_seconds():.1f} s"
