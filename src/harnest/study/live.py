"""What runs at this moment, as one table that keeps itself up to date."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from statistics import fmean

from optuna.trial import TrialState
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harnest.failure import INTERRUPTED
from harnest.study.listener import TrialFacts
from harnest.study.wording import COLOURS, scores, setting, span

_PER_SECOND = 2  # how often it is drawn anew

Turn = tuple[int, str]
"""What is on a slot: a trial's number, and the name of its member or nothing."""


class LiveTable:
    """Slots with trial, steps, last score and time; below it the counts, the best, the end.

    ``trials`` reads what is known of all trials now. ``budget`` is the study's.
    """

    def __init__(
        self, console: Console, trials: Callable[[], list[TrialFacts]], slots: int, budget: int
    ) -> None:
        self._trials = trials
        self._budget = budget
        self._slots: list[Turn | None] = [None] * slots
        self._began: dict[Turn, float] = {}
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

    def begin(self, number: int, member: str = "") -> None:
        """A trial of this sweeper or a member of one begins, on the first slot that is free."""
        turn = (number, member)
        self._began[turn] = time.monotonic()
        free = self._slots.index(None) if None in self._slots else len(self._slots)
        self._slots[free : free + 1] = [turn]

    def end(self, number: int, member: str = "") -> None:
        """It ended, or went on as its members."""
        if (number, member) in self._slots:
            self._slots[self._slots.index((number, member))] = None

    def _draw(self) -> RenderableType:
        # It draws in a thread of its own: a storage that is away must not end it.
        with suppress(Exception):
            trials = self._trials()
            self._shown = Group(self.table(trials), Text(self.summary(trials), "bold"))
        return self._shown

    def table(self, trials: Sequence[TrialFacts]) -> Table:
        """A row for each slot, and for each trial that another sweeper runs."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("slot", "trial", "steps", "score", "time"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("tries", no_wrap=True, overflow="ellipsis")
        known = {trial.number: trial for trial in trials}
        for slot, turn in enumerate(self._slots):
            if turn is None or turn[0] not in known:
                table.add_row(str(slot), "-", style="dim")
            else:
                took = span(time.monotonic() - self._began[turn])
                table.add_row(str(slot), *_row(known[turn[0]], turn[1], took))
        ours = {turn[0] for turn in self._began}
        for trial in trials:
            if trial.state is TrialState.RUNNING and trial.number not in ours:
                table.add_row("other", *_row(trial, "", ""), style="dim")
        return table

    def summary(self, trials: Sequence[TrialFacts]) -> str:
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
            parts.append(f"about {span(left)} left, until {over:%H:%M}")
        return "   ".join(parts)

    def _left(self, trials: Sequence[TrialFacts]) -> float | None:
        """Seconds that the rest takes, if it goes on as it went; None before anything ended."""
        took = [t.duration.total_seconds() for t in trials if t.duration is not None]
        if not took:
            return None
        mean = fmean(took)
        now = time.monotonic()
        begun = {turn[0]: self._began[turn] for turn in reversed(self._began)}
        running = [t.number for t in trials if t.state is TrialState.RUNNING and t.number in begun]
        waiting = max(0, self._budget - _ended(trials) - len(running))
        work = mean * waiting + sum(max(0.0, mean - now + begun[n]) for n in running)
        return work / len(self._slots)


_WORDS = (
    (TrialState.RUNNING, "running"),
    (TrialState.COMPLETE, "finished"),
    (TrialState.PRUNED, "pruned"),
    (TrialState.FAIL, "failed"),
)


def _ended(trials: Sequence[TrialFacts]) -> int:
    return sum(t.state.is_finished() and t.reason != INTERRUPTED for t in trials)


def _row(trial: TrialFacts, member: str, took: str) -> tuple[str | Text, ...]:
    number = Text(f"{trial.number} {member}".rstrip(), COLOURS[trial.state])
    return number, str(len(trial.steps)), scores(trial), took, setting(trial.params)
