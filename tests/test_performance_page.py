"""The page of performance: what is measured is written, and what is not keeps what stood there."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from limits import HANG_TIMEOUT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),  # programs that measure
    pytest.mark.xdist_group("performance page"),
]

PROGRAM = Path(__file__).parents[1] / "benchmarks" / "table.py"
PAGE = """# Performance
by hand
<!-- measured: figures -->
old
<!-- end -->
below
"""
EARLIER = [
    {
        "program": "windows",
        "date": "2026-01-02",
        "machine": "another machine",
        "versions": "older ones",
        "figures": {
            "HAPT first": 0.25,
            "HAPT first seconds": 1.5,
            "HAPT pandas seconds": 6.0,
            "watch first": 8.0,
            "watch first seconds": 8.0,
            "watch pandas seconds": 1.0,
        },
    }
]


def make(folder, *programs, **environment):
    words = (*programs, "--page", "page.md", "--record", "record.json")
    surroundings = {key: value for key, value in os.environ.items() if key != "HAPT"}
    return subprocess.run(
        [sys.executable, PROGRAM, *words],
        cwd=folder,
        env=surroundings | environment,
        capture_output=True,
        text=True,
        timeout=HANG_TIMEOUT,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("performance")
    (folder / "page.md").write_text(PAGE)
    (folder / "record.json").write_text(json.dumps(EARLIER))
    done = make(folder, "windows", "command_line")
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def cells(text, figure):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {figure} |")]
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_what_was_measured_is_in_the_table_with_its_date_and_its_goal(made):
    folder, said = made
    text = (folder / "page.md").read_text()
    figures = {}
    for one in json.loads((folder / "record.json").read_text()):
        figures |= one["figures"] if one["date"] == str(date.today()) else {}
    for name, figure, goal in (
        ("--help", "`harnest-train --help`", 3),
        ("--cfg job", "`harnest-train --cfg job`", 3),
        ("watch first", "windows of watch, the first time", 0.5),
        ("watch cached", "windows of watch, from the cache", 0.005),
    ):
        _, _, measured, aim, met, _, on = cells(text, figure)
        ratio = measured.partition(":")[0]
        assert float(ratio) == pytest.approx(figures[name], abs=0.01)
        assert aim == f"at most {goal}"
        assert met == ("yes" if figures[name] <= goal else "**no**")
        assert on.startswith(str(date.today()))
        assert figure in said


def test_a_time_is_what_its_ratio_says(made):
    for one in json.loads((made[0] / "record.json").read_text()):
        found = one["figures"]
        for flags in ("--help", "--cfg job") if one["program"] == "command_line" else ():
            ratio = found[f"{flags} ours"] / found[f"{flags} bare"]
            assert found[flags] == pytest.approx(ratio, rel=0.5)  # of medians, not pair by pair


def test_an_earlier_figure_keeps_its_date_and_machine_until_it_is_measured_again(made):
    text = (made[0] / "page.md").read_text()
    _, _, measured, _, met, _, on = cells(text, "windows of HAPT, the first time")
    assert (measured, met, on) == ("0.25: 1.50 s, 6.00 s", "yes", "2026-01-02 (1)")
    assert "1. another machine; older ones\n2. " in text
    assert not cells(text, "windows of watch, the first time")[-1].startswith("2026-01-02")


def test_what_is_written_by_hand_stays_and_what_is_missing_is_said(made):
    text = (made[0] / "page.md").read_text()
    assert "# Performance\nby hand\n<!--" in text
    assert "-->\nbelow\n" in text
    assert "old\n" not in text
    for figure, reason in (
        ("windows of HAPT, from the cache", ": HAPT's archive was not given"),
        ("an epoch of 16 packed LSTM trials on a GPU", ": there was no GPU"),
        ("an epoch, FCN, watch", ""),
    ):
        _, _, measured, _, met, _, on = cells(text, figure)
        assert (measured, met, on) == (f"not measured yet{reason}", "", "")


def test_a_program_that_fails_leaves_its_figures_and_the_others_are_measured(made, tmp_path):
    for name in ("page.md", "record.json"):
        (tmp_path / name).write_text((made[0] / name).read_text())
    done = make(tmp_path, "windows", "command_line", HAPT="nowhere.zip")
    assert done.returncode == 1
    assert "nowhere.zip" in done.stderr
    assert done.stderr.endswith("not measured: windows\n")
    figure = "windows of watch, from the cache"
    before, after = ((place / "page.md").read_text() for place in (made[0], tmp_path))
    assert cells(after, figure) == cells(before, figure)
    help_before, help_after = (cells(text, "`harnest-train --help`") for text in (before, after))
    assert help_before != help_after


def test_a_page_without_its_marks_is_refused_before_anything_is_measured(tmp_path):
    (tmp_path / "page.md").write_text("# Performance\n")
    done = make(tmp_path, "sweep")
    assert done.returncode == 1
    assert "<!-- measured: figures -->" in done.stderr
    assert not (tmp_path / "record.json").exists()


def test_a_program_that_there_is_not_is_named(tmp_path):
    (tmp_path / "page.md").write_text(PAGE)
    done = make(tmp_path, "epochs")
    assert done.returncode == 2
    assert "no program is called epochs" in done.stderr
    assert (tmp_path / "page.md").read_text() == PAGE
