"""The table that a person sees while a study runs."""

import io
import os
import pty
import re
import subprocess
import sys
import time
from datetime import timedelta

from optuna.trial import TrialState
from rich.console import Console

from foreign_bench import APP
from harnest.study.console.live_table import LiveTable
from harnest.study.events import TrialInfo

TRIALS = [
    TrialInfo(0, {"x": 1}, TrialState.COMPLETE, (0.5,), {0: 0.5}, timedelta(seconds=60)),
    TrialInfo(1, {"x": 2}, TrialState.PRUNED, (), {0: 0.9}, timedelta(seconds=60)),
    TrialInfo(2, {"m.x": 3}, TrialState.RUNNING, (), {0: 0.3, 1: 0.25}),
    TrialInfo(3, {"m.x": 4}, TrialState.RUNNING),
]


def shown(renderable) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=100)
    console.print(renderable)
    return [line.split() for line in console.file.getvalue().splitlines()]


def live(trials, slots=2, budget=10) -> LiveTable:
    return LiveTable(Console(file=io.StringIO()), lambda: trials, slots, budget)


def test_each_slot_has_a_row_and_so_have_trials_of_other_sweepers():
    table = live(TRIALS)
    table.begin(2)
    heads, first, second, other = shown(table.table(TRIALS))
    assert heads == ["slot", "trial", "steps", "score", "time", "tries"]
    assert first[:4] == ["0", "2", "2", "0.2500"]
    assert first[-1] == "x=3"
    assert second == ["1", "-"]
    assert other[:3] == ["other", "3", "0"]


def test_a_trial_takes_the_slot_that_falls_free():
    table = live(TRIALS)
    table.begin(0)
    table.begin(2)
    table.end(0)
    table.begin(3)
    rows = shown(table.table(TRIALS))[1:]
    assert [row[:2] for row in rows] == [["0", "3"], ["1", "2"]]


def test_the_summary_counts_and_estimates_the_rest():
    table = live(TRIALS)
    assert "left" not in table.summary(TRIALS[2:])
    table.begin(2)
    table.begin(3)
    text = table.summary(TRIALS)
    assert text.startswith("2/10   2 running, 1 finished, 1 pruned")
    # Six more of a minute each and two that have just begun, on two slots.
    assert re.search(r"about 4 min left, until \d\d:\d\d$", text)


def test_a_storage_that_is_away_leaves_the_last_table():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    answers = [TRIALS]
    table = LiveTable(console, lambda: answers.pop(), 1, 10)  # the second time, an error
    table.start()
    time.sleep(0.05)
    table.stop()
    assert "2/10" in console.file.getvalue()


def test_a_terminal_shows_it_and_a_file_does_not(tmp_path):
    command = [sys.executable, str(APP), "-m", "x=1,2", "steps=2"]
    slots = ["hydra/launcher=slots", "hydra.launcher.cpu_slots=1", "hydra.sweeper.study=s"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*command, *slots], cwd=tmp_path, stdout=theirs, stderr=theirs, env=environment
    ) as sweep:
        os.close(theirs)
        seen = b""
        try:
            while part := os.read(ours, 4096):
                seen += part
        except OSError:  # what Linux says when the other side is gone
            pass
    os.close(ours)
    assert sweep.returncode == 0, seen
    text = seen.decode()
    assert "tries" in text
    assert "started" not in text
    assert "trial 1 finished" in text
    done = subprocess.run(
        [*command, *slots[:-1], "hydra.sweeper.study=t"],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "tries" not in done.stdout
    assert "trial 1 started" in done.stdout


DIVIDED = [
    TrialInfo(0, {"x": 1}, TrialState.RUNNING, (), {0: 0.3}, replicates=3),
    TrialInfo(1, {"x": 2}, TrialState.RUNNING, (), replicates=3),
]


def test_replicates_take_the_slots_of_the_jobs_that_named_them():
    table = live(DIVIDED)
    for number in range(2):
        table.begin(number)
    for number in range(2):
        table.start_replicates(number)
    table.begin(0, "fold-0")
    table.begin(0, "fold-1")
    rows = shown(table.table(DIVIDED))[1:]
    assert [row[:3] for row in rows] == [["0", "0", "fold-0"], ["1", "0", "fold-1"]]
    assert all("0.3000" not in row for row in rows)  # which is another replicate's


def test_the_estimate_counts_the_replicates_that_wait():
    """An earlier trial had three runs on two slots, and took a minute and a half."""
    earlier = TrialInfo(
        0, {}, TrialState.COMPLETE, (0.5,), {0: 0.5}, timedelta(seconds=90), replicates=3
    )
    running = TrialInfo(1, {}, TrialState.RUNNING, replicates=3)
    table = live([], budget=3)
    table.begin(1)
    table.start_replicates(1)
    table.begin(1, "fold-0")
    table.begin(1, "fold-1")
    # Each run takes a minute: two are at work, and four more wait.
    assert "about 3 min left" in table.summary([earlier, running])


def test_a_narrow_table_keeps_number_and_score_whole():
    trials = [TrialInfo(2, {f"key_{n}": n for n in range(9)}, TrialState.RUNNING, (), {0: 0.25})]
    table = live(trials)
    table.begin(2)
    for width in (30, 60, 80):
        console = Console(file=io.StringIO(), width=width)
        console.print(table.table(trials, width))
        lines = console.file.getvalue().splitlines()
        assert len(lines) == 3
        assert {"2", "0.2500"} < set(lines[1].split())
