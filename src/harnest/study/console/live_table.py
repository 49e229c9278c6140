"""A live table of the running trials."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from heapq import heapify, heapreplace
from statistics import fmean
from typing import Literal

from optuna.trial import TrialState
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harnest.core.failure import INTERRUPTED
from harnest.core.terminal_width import fit_columns, truncate
from harnest.study.console.formatting import (
    COLOURS,
    duration_text,
    plain_params_text,
    progress,
    scores,
)
from harnest.study.events import TrialInfo

_BETWEEN = "   "  # the parts of the line below it
_PER_SECOND = 2  # refreshes per second

JobKey = tuple[int, str]
"""What is on a slot: a trial's number, and the name of its replicate or nothing."""


class LiveTable:
    """Slots with trial, steps, last score and time; below it the counts, the best, the end.

    ``trials`` reads what is known of all trials now. ``budget`` is the study's, ``metric`` the name
    of its score.
    """

    def __init__(
        self,
        console: Console,
        trials: Callable[[], list[TrialInfo]],
        slots: int,
        budget: int,
        metric: str = "score",
    ) -> None:
        self._console = console
        self._trials = trials
        self._metric = metric
        self._budget = budget
        self._slots: list[JobKey | None] = [None] * slots
        self._began: dict[JobKey, float] = {}
        self._took: dict[JobKey, float] = {}
        self._shown: RenderableType = ""
        self._live = Live(
            console=console,
            get_renderable=self._draw,
            refresh_per_second=_PER_SECOND,
            transient=True,
        )

    def start(self) -> None:
        """Begin to show it."""
        self._live.start()

    def stop(self) -> None:
        """Take it from the screen."""
        self._live.stop()

    def begin(self, number: int, replicate: str = "") -> None:
        """A trial of this sweeper or a replicate of one begins, on the first slot that is free."""
        turn = (number, replicate)
        self._began[turn] = time.monotonic()
        free = self._slots.index(None) if None in self._slots else len(self._slots)
        self._slots[free : free + 1] = [turn]

    def end(self, number: int, replicate: str = "") -> None:
        """It ended."""
        turn = (number, replicate)
        if turn in self._slots:
            self._slots[self._slots.index(turn)] = None
            self._took[turn] = time.monotonic() - self._began[turn]

    def start_replicates(self, number: int) -> None:
        """The job that named a trial's replicates ended: it is no measure of what a run takes."""
        self.end(number)
        self._took.pop((number, ""), None)

    def _draw(self) -> RenderableType:
        # Called in rich's thread, which an unavailable storage must not end.
        with suppress(Exception):
            trials = self._trials()
            summary = _wrapped(self.summary(trials), self._console.width)
            self._shown = Group(self.table(trials, self._console.width), Text(summary, "bold"))
        return self._shown

    def table(self, trials: Sequence[TrialInfo], width: int | None = None) -> Table:
        """Build the table: a row for each slot, and for each trial of another sweeper.

        If ``width`` is too small, step and time are dropped first, then the parameters.
        """
        rows: list[tuple[Sequence[str], str, TrialState | None]] = []
        known = {trial.number: trial for trial in trials}
        for slot, turn in enumerate(self._slots):
            if turn is None or turn[0] not in known:
                rows.append(((str(slot), "-", "", "", "", ""), "dim", None))
            else:
                trial, took = known[turn[0]], duration_text(time.monotonic() - self._began[turn])
                rows.append(((str(slot), *_row(trial, turn[1], took)), "", trial.state))
        ours = {turn[0] for turn in self._began}
        rows += [
            (("other", *_row(trial, "", "")), "dim", trial.state)
            for trial in trials
            if trial.state is TrialState.RUNNING and trial.number not in ours
        ]
        heads = ["slot", "trial", "steps", self._metric, "time", "tries"]
        columns = fit_columns(heads, [line for line, _, _ in rows], [1, 3, 0, 5, 4, 2], width)
        table = Table(box=None, pad_edge=False, header_style="bold")
        for at, size in columns.items():
            justify: Literal["left", "right"] = "left" if heads[at] == "tries" else "right"
            table.add_column(
                escape(truncate(heads[at], size)), justify=justify, no_wrap=True, width=size
            )
        for line, style, state in rows:
            cells = {at: Text(truncate(line[at], size)) for at, size in columns.items()}
            if state is not None:
                cells[1].stylize(COLOURS[state])
            table.add_row(*cells.values(), style=style)
        return table

    def summary(self, trials: Sequence[TrialInfo]) -> str:
        """States counted, the best so far, and when it will be over."""
        states = [trial.state for trial in trials]
        counts = [f"{states.count(state)} {word}" for state, word in _WORDS if state in states]
        best = next((trial for trial in trials if trial.is_best), None)
        parts = [f"{_ended(trials)}/{self._budget}", ", ".join(counts)]
        if best is not None:
            parts.append(f"best {scores(best)} (trial {best.number})")
        left = self._left(trials)
        if left is not None:
            over = datetime.now() + timedelta(seconds=left)
            parts.append(f"about {duration_text(left)} left, until {over:%H:%M}")
        return _BETWEEN.join(parts)

    def _left(self, trials: Sequence[TrialInfo]) -> float | None:
        """Estimated seconds until the study ends; None before any job has ended.

        What waits takes the slot that falls free first. A trial of several replicates is that many
        jobs, and each is as long as those that have ended.
        """
        slots = len(self._slots)
        took = list(self._took.values())
        ours = {number for number, _ in self._took}
        for trial in trials:  # of earlier sessions, and other sweepers
            if trial.duration is not None and trial.number not in ours:
                share = min(trial.replicates, slots) / trial.replicates if trial.replicates else 1.0
                took.append(trial.duration.total_seconds() * share)
        if not took:
            return None
        mean, now = fmean(took), time.monotonic()
        ends = [
            0.0 if turn is None else max(0.0, mean - now + self._began[turn])
            for turn in self._slots
        ]
        heapify(ends)
        for _ in range(self._waiting(trials)):
            heapreplace(ends, ends[0] + mean)
        return max(ends)

    def _waiting(self, trials: Sequence[TrialInfo]) -> int:
        """Jobs that have not begun: of trials that have not, and of running ones' replicates."""
        begun = {number for number, _ in self._began}
        running = [t for t in trials if t.state is TrialState.RUNNING and t.number in begun]
        each = max((trial.replicates for trial in trials), default=0) or 1
        started = Counter(number for number, replicate in self._began if replicate)
        inside = sum(
            max(0, (trial.replicates or each) - started[trial.number])
            for trial in running
            if each > 1
        )
        return inside + each * max(0, self._budget - _ended(trials) - len(running))


def _wrapped(summary: str, width: int) -> str:
    """The parts of a summary, in as many lines as they need."""
    lines: list[str] = []
    for part in summary.split(_BETWEEN):
        if lines and len(lines[-1]) + len(_BETWEEN) + len(part) <= width:
            lines[-1] += _BETWEEN + part
        else:
            lines.append(part)
    return "\n".join(lines)


_WORDS = (
    (TrialState.RUNNING, "running"),
    (TrialState.COMPLETE, "finished"),
    (TrialState.PRUNED, "pruned"),
    (TrialState.FAIL, "failed"),
)


def _ended(trials: Sequence[TrialInfo]) -> int:
    return sum(t.state.is_finished() and t.reason != INTERRUPTED for t in trials)


def _row(trial: TrialInfo, replicate: str, took: str) -> tuple[str, ...]:
    """Cells of a trial, or of one of its replicates, which has fewer: the rest is the trial's."""
    number = f"{trial.number} {replicate}".rstrip()
    tries = plain_params_text(trial.params)
    if replicate:
        return number, "", "", took, tries
    steps = progress(trial).removesuffix(" runs").replace(" of ", "/")
    return number, steps if trial.replicates else str(len(trial.steps)), scores(trial), took, tries
