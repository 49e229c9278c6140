"""Figures that a trial keeps to be drawn, and the process that draws them for its study."""

import json
import subprocess
import sys

import pytest

from harnest.har.figures import draw, save_to_draw
from harnest.tracking.figure_worker import FigureWorker, draw_pending, pending_below
from harnest.tracking.outbox.runlog import RunLog
from limits import HANG_TIMEOUT
from made_predictions import HISTORY, figures_in, made_predictions

LABELS, PREDICTED = [0, 1, 2, 0, 1, 2, 0], [0, 1, 2, 1, 1, 0, 0]
FOLDER = "record/artifacts/figures/validation"


@pytest.fixture
def run(tmp_path):
    """Makes the directory of a run that has kept what its figures show."""

    def make(name="run"):
        RunLog.begin(tmp_path / name, "sqlite:///nowhere.db")
        save_to_draw(made_predictions(LABELS, PREDICTED), HISTORY, tmp_path / name)
        return tmp_path / name

    return make


def test_what_was_kept_is_drawn_as_if_at_once_and_goes_to_the_journal(run, tmp_path):
    directory = run()
    assert pending_below(tmp_path) == [directory]
    draw_pending(directory)
    draw(made_predictions(LABELS, PREDICTED), HISTORY, tmp_path / "at once")
    assert figures_in(directory / FOLDER) == figures_in(tmp_path / "at once")
    (write,) = RunLog(directory).writes()
    assert (write["kind"], write["folder"]) == ("files", "figures/validation")
    assert all((directory / path).is_file() for path in write["paths"])
    assert len(write["paths"]) == len(list((tmp_path / "at once").iterdir()))
    assert pending_below(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        draw_pending(directory)


def test_an_artist_draws_for_all_and_tells_of_each_journal(run, tmp_path):
    directories = [run(name) for name in ("a", "b")]
    told = []
    worker = FigureWorker(told.append)
    for directory in [*directories, tmp_path / "kept nothing"]:
        worker.draw(directory)
    worker.finish()
    assert [run_log.directory for run_log in told] == directories
    assert all(len(run_log.writes()) == 1 for run_log in told)
    assert pending_below(tmp_path) == []


def test_figures_that_cannot_be_made_are_told_and_the_next_ones_are_made(run, caplog):
    broken, whole = run("broken"), run("whole")
    (broken / "record/to_draw.npz").write_bytes(b"no archive")
    worker = FigureWorker(lambda run_log: None)
    worker.draw(broken)
    worker.draw(whole)
    worker.finish()
    (warning,) = caplog.messages
    assert str(broken) in warning
    assert (whole / FOLDER / "confusion.png").is_file()


def test_an_artist_that_had_nothing_to_draw_was_never_started(tmp_path):
    worker = FigureWorker(lambda run_log: None)
    worker.draw(tmp_path)
    worker.finish()
    assert worker._process is None


def test_an_artist_whose_study_was_killed_draws_what_it_was_given_and_ends(run):
    directory = run()
    done = subprocess.run(
        [sys.executable, "-m", "harnest.tracking.figure_worker"],
        input=json.dumps(str(directory)) + "\n",
        capture_output=True,
        text=True,
        timeout=HANG_TIMEOUT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [str(directory), None]


def test_an_artist_that_died_is_told_once_and_what_is_missing_is_kept(run, tmp_path, caplog):
    worker = FigureWorker(lambda run_log: None)
    worker.draw(run("first"))
    worker._process.kill()
    worker._process.wait()
    second = run("second")
    worker.draw(second)
    worker.finish()
    (warning,) = caplog.messages
    assert "harnest-sync to draw the missing figures" in warning
    assert second in pending_below(tmp_path)
