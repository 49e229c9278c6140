"""Who sends: when it goes out, and what it looks at by itself."""

import time

import mlflow
import pytest

from foreign_bench import wait_until
from harnest.tracking.outbox.operations import values
from harnest.tracking.outbox.runlog import RunLog
from harnest.tracking.outbox.uploader import Uploader, WriteQueue
from limits import HANG_TIMEOUT


@pytest.fixture
def run_log(store, tmp_path):
    """The journal of a run that the store has heard of, and how to read its metrics."""
    run = mlflow.MlflowClient(store).create_run("0")
    return RunLog.begin(tmp_path, store, run.info.run_id)


@pytest.fixture
def uploader(store):
    """Makes couriers, and dismisses them."""
    made = []

    def make(**options):
        made.append(Uploader(store, 30.0, **options))
        return made[-1]

    yield make
    for one in made:
        one.finish()


def steps(client, run_log):
    return [metric.step for metric in client.get_metric_history(run_log.run_id, "loss")]


def loss(step):
    return values(metrics={"loss": 1.0}, step=step)


def test_it_goes_out_in_rounds(uploader, run_log, client):
    queue = WriteQueue(run_log, uploader(rounds=5.0))
    for step in range(3):
        queue.add(loss(step))
    assert run_log.unsent() == 3
    time.sleep(0.5)
    assert run_log.unsent() == 3
    wait_until(lambda: run_log.unsent() == 0, "the round")
    assert steps(client, run_log) == [0, 1, 2]


def test_it_goes_out_at_once_where_somebody_waits(uploader, run_log, client):
    slow = uploader(rounds=3600.0)
    for step in range(3):
        WriteQueue(run_log, slow).add(loss(step))
        assert slow.wait(HANG_TIMEOUT)
        assert steps(client, run_log) == list(range(step + 1))


def test_it_finds_what_others_add_to_a_journal_until_it_is_left(uploader, run_log, client):
    watcher = uploader(rounds=0.05)
    watcher.watch(run_log)
    for step in range(3):
        WriteQueue(RunLog(run_log.directory), None).add(loss(step))
        wait_until(lambda sent=step: steps(client, run_log) == list(range(sent + 1)), "a round")
    watcher.unwatch(run_log)
    assert watcher.wait(HANG_TIMEOUT)
    WriteQueue(RunLog(run_log.directory), None).add(loss(3))
    time.sleep(0.5)
    assert run_log.unsent() == 1


def test_who_waits_is_not_held_up_by_what_is_watched(uploader, run_log):
    watcher = uploader(rounds=0.01)
    watcher.watch(run_log)
    for _ in range(200):
        WriteQueue(run_log, watcher).add(loss(0))
        assert watcher.wait(HANG_TIMEOUT)


def test_a_watched_run_that_is_removed_is_passed_over(uploader, run_log, tmp_path):
    watcher = uploader(rounds=0.05)
    watcher.watch(run_log)
    time.sleep(0.2)
    (run_log.folder / "journal.jsonl").unlink()
    time.sleep(0.2)
    assert watcher.wait(HANG_TIMEOUT)
    assert watcher.trouble is None
