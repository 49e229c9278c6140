"""Who sends: when it goes out, and what it looks at by itself."""

import time

import mlflow
import pytest
from foreign_bench import wait_until

from harnest.tracking.outbox.operations import values
from harnest.tracking.outbox.runlog import Journal
from harnest.tracking.outbox.uploader import Courier, Outbox
from limits import HANG_TIMEOUT


@pytest.fixture
def journal(store, tmp_path):
    """The journal of a run that the store has heard of, and how to read its metrics."""
    run = mlflow.MlflowClient(store).create_run("0")
    return Journal.begin(tmp_path, store, run.info.run_id)


@pytest.fixture
def courier(store):
    """Makes couriers, and dismisses them."""
    made = []

    def make(**options):
        made.append(Courier(store, 30.0, **options))
        return made[-1]

    yield make
    for one in made:
        one.finish()


def steps(client, journal):
    return [metric.step for metric in client.get_metric_history(journal.run_id, "loss")]


def loss(step):
    return values(metrics={"loss": 1.0}, step=step)


def test_it_goes_out_in_rounds(courier, journal, client):
    outbox = Outbox(journal, courier(rounds=5.0))
    for step in range(3):
        outbox.add(loss(step))
    assert journal.unsent() == 3
    time.sleep(0.5)
    assert journal.unsent() == 3
    wait_until(lambda: journal.unsent() == 0, "the round")
    assert steps(client, journal) == [0, 1, 2]


def test_it_goes_out_at_once_where_somebody_waits(courier, journal, client):
    slow = courier(rounds=3600.0)
    for step in range(3):
        Outbox(journal, slow).add(loss(step))
        assert slow.wait(HANG_TIMEOUT)
        assert steps(client, journal) == list(range(step + 1))


def test_it_finds_what_others_add_to_a_journal_until_it_is_left(courier, journal, client):
    watcher = courier(rounds=0.05)
    watcher.watch(journal)
    for step in range(3):
        Outbox(Journal(journal.directory), None).add(loss(step))
        wait_until(lambda sent=step: steps(client, journal) == list(range(sent + 1)), "a round")
    watcher.leave(journal)
    assert watcher.wait(HANG_TIMEOUT)
    Outbox(Journal(journal.directory), None).add(loss(3))
    time.sleep(0.5)
    assert journal.unsent() == 1


def test_who_waits_is_not_held_up_by_what_is_watched(courier, journal):
    watcher = courier(rounds=0.01)
    watcher.watch(journal)
    for _ in range(200):
        Outbox(journal, watcher).add(loss(0))
        assert watcher.wait(HANG_TIMEOUT)


def test_a_watched_run_that_is_removed_is_passed_over(courier, journal, tmp_path):
    watcher = courier(rounds=0.05)
    watcher.watch(journal)
    time.sleep(0.2)
    (journal.folder / "journal.jsonl").unlink()
    time.sleep(0.2)
    assert watcher.wait(HANG_TIMEOUT)
    assert watcher.trouble is None
