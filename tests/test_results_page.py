"""The page of results, from runs that are recorded, and from those that are not yet."""

import statistics
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("results page")]  # five folds

PROGRAM = Path(__file__).parents[1] / "benchmarks" / "results.py"
SMALL = ("data.batch_size=256", "trainer.max_epochs=1")
PAGE = """# Results
by hand
<!-- measured: hapt -->
<!-- end -->
between
<!-- measured: watch -->
old
<!-- end -->
below
"""


def make(folder, *arguments):
    small = [word for override in SMALL for word in ("--override", override)]
    words = ("watch/LSTM", "--seeds", "1", "--page", "page.md", *small, *arguments)
    done = subprocess.run(
        [sys.executable, PROGRAM, *words], cwd=folder, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    (folder / "page.md").write_text(PAGE)
    return folder, make(folder)


def runs(folder):
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    group = client.get_experiment_by_name("results").experiment_id
    return client, client.search_runs([group], order_by=["attributes.start_time ASC"])


def test_each_fold_is_tested_once_by_all_others(made):
    client, found = runs(made[0])
    tested = [run.data.tags["subjects.test"].split(", ") for run in found]
    assert sorted(int(subject) for fold in tested for subject in fold) == list(range(1, 11))
    for run, fold in zip(found, tested, strict=True):
        assert len(run.data.tags["subjects.train"].split(", ")) == 10 - len(fold)
        assert run.data.tags["subjects.validation"] == ""
        assert len(client.get_metric_history(run.info.run_id, "test/macro_f1")) == 1


def test_the_table_has_the_means_of_what_is_recorded(made):
    folder, _ = made
    text = (folder / "page.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| LSTM | 0")]
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    _, found = runs(folder)
    for cell, name in zip(cells[1:3], ("test/macro_f1", "test/accuracy"), strict=True):
        assert cell == f"{statistics.fmean(run.data.metrics[name] for run in found):.4f}"
    subjects = {
        name: value
        for run in found
        for name, value in run.data.metrics.items()
        if name.startswith("test/subject/")
    }
    assert len(subjects) == 10
    assert cells[3] == f"{min(subjects.values()):.3f} to {max(subjects.values()):.3f}"
    assert cells[7] == "`harnest-train data=watch model=lstm trainer.precision=auto`"


def test_what_is_written_by_hand_stays_and_what_is_missing_is_said(made):
    text = (made[0] / "page.md").read_text()
    for words in ("# Results\nby hand\n<!--", "-->\nbetween\n<!--", "-->\nbelow\n"):
        assert words in text
    assert "old" not in text
    assert "| FCN | not measured yet |" in text


def test_nothing_is_trained_or_tested_twice(made):
    folder, _ = made
    before = (folder / "page.md").read_text()
    client, first = runs(folder)
    assert make(folder) == ""
    _, second = runs(folder)
    assert [run.info.run_id for run in second] == [run.info.run_id for run in first]
    for run in second:
        assert len(client.get_metric_history(run.info.run_id, "test/macro_f1")) == 1
    assert (folder / "page.md").read_text() == before
