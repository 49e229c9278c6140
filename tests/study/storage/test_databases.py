"""Studies on real database servers: kept there, shared by several hosts, through outages."""

import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import optuna
import pytest
from optuna.storages import _CachedStorage
from sqlalchemy.exc import OperationalError

from databases import PASSWORD, on_all_servers
from foreign_bench import Answer, files_of, is_written, wait_until
from harnest.core.errors import StudyError
from harnest.study.execution.executor import BatchExecutor
from harnest.study.space.search_space import SearchSpace
from harnest.study.storage import lease, retry
from harnest.study.storage.lock import LockLostError, storage_lock
from harnest.study.storage.optuna_storage import open_storage, reopen_storage
from limits import HANG_TIMEOUT


@pytest.fixture
def database(server):
    """Address of an empty database."""
    return server.new_database()


def trials_in(database, study="s"):
    return optuna.load_study(study_name=study, storage=database).trials


def states_in(database):
    return [trial.state.name for trial in trials_in(database)]


def in_folder(bench, name):
    """The bench of another host: it shares no folder with the first."""
    (bench.folder / name).mkdir()
    return replace(bench, folder=bench.folder / name)


def ended(sweeper: subprocess.Popen[bytes]) -> Answer:
    out, err = sweeper.communicate(timeout=HANG_TIMEOUT)
    return Answer(sweeper.returncode, out.decode(), err.decode())


@contextmanager
def killed_at_the_end(*sweepers):
    try:
        yield sweepers
    finally:
        for sweeper in sweepers:
            sweeper.kill()
            sweeper.communicate()


@on_all_servers
def test_a_study_on_a_server_goes_on(bench, database):
    command = ("x=1,2,3", "steps=2", "do=fail@2", f"hydra.sweeper.storage={database}")
    bench.sweep(*command, "hydra.sweeper.n_trials=2")
    bench.sweep(*command, "hydra.sweeper.retry={error:1}")
    trials = trials_in(database)
    assert [trial.value for trial in trials] == [1, 4, None, 9]
    assert [len(trial.intermediate_values) for trial in trials] == [2] * 4
    assert trials[3].user_attrs["retry_of"] == 2
    assert {path.name for path in (bench.folder / "multirun/s").glob("[0-9]*")} == set("0123")


def test_the_same_seed_finds_the_same_on_every_storage(bench, database):
    command = ("x=interval(1,2)", "network=small,large", "hydra.sweeper.n_trials=4")
    seeded = ("hydra/sweeper/sampler=tpe", "hydra.sweeper.sampler.seed=3")
    bench.sweep(*command, *seeded, study="in_a_journal")
    bench.sweep(*command, *seeded, f"hydra.sweeper.storage={database}")
    expected = [(t.number, t.params, t.value) for t in bench.trials("in_a_journal")]
    assert [(t.number, t.params, t.value) for t in trials_in(database)] == expected


def test_a_long_error_is_no_trouble(bench, database):
    """It may be longer than MySQL's texts."""
    bench.sweep("x=1,2", "do=shout@0", f"hydra.sweeper.storage={database}")
    assert states_in(database) == ["FAIL", "COMPLETE"]
    assert trials_in(database)[0].user_attrs["message"].startswith("ValueError: ää")


@pytest.mark.slow
def test_the_password_is_written_nowhere(bench, database, store):
    sweeper = bench.start(
        "x=1,2,3,4",
        "steps=2",
        "do=fail@1",
        f"hydra.sweeper.storage={database}",
        "hydra/launcher=slots",
        "hydra.launcher.cpu_slots=2",
        "callbacks@hydra.callbacks=mlflow",
    )
    answer = ended(sweeper)
    assert answer.code == 0, answer.err
    assert sorted(states_in(database)) == ["COMPLETE"] * 3 + ["FAIL"]
    assert all(len(trial.intermediate_values) == 2 for trial in trials_in(database))
    files = files_of(bench.folder)
    assert "multirun/s/1/output.log" in files  # so there was something to look through
    assert any(name.endswith("traceback.txt") for name in files)
    assert [name for name, (_, text) in files.items() if PASSWORD.encode() in text] == []
    assert PASSWORD not in answer.out + answer.err
    kept = [trial.user_attrs | trial.system_attrs for trial in trials_in(database)]
    assert PASSWORD not in repr(kept)


@pytest.mark.parametrize("wrong", ["password", "database"])
def test_what_cannot_be_opened_is_told_at_once(bench, server, wrong):
    address = (
        server.address(server.system, "wr0ng") if wrong == "password" else server.address("no")
    )
    answer = bench.sweep("x=1,2", f"hydra.sweeper.storage={address}", code=2)
    (line,) = answer.err.strip().splitlines()
    assert "cannot be opened" in line
    assert ("wr0ng" if wrong == "password" else PASSWORD) not in answer.out + answer.err
    assert not (bench.folder / "multirun/s").exists()


@pytest.mark.parametrize(
    ("address", "extra"),
    [
        ("postgresql+psycopg://me:x@127.0.0.1/db", "postgresql"),
        ("mysql+pymysql://me:x@127.0.0.1/db", "mysql"),
        ("mariadb+pymysql://me:x@127.0.0.1/db", "mysql"),
    ],
)
def test_a_missing_driver_is_told_with_the_extra_that_brings_it(bench, monkeypatch, address, extra):
    for module in ("psycopg", "pymysql"):
        monkeypatch.setitem(sys.modules, module, None)
    answer = bench.sweep("x=1,2", f"hydra.sweeper.storage={address}", code=2)
    (line,) = answer.err.strip().splitlines()
    assert f"pip install 'harnest[{extra}]'" in line


@on_all_servers
@pytest.mark.slow
def test_sweepers_on_several_hosts_share_a_study(bench, database, store, client, monkeypatch):
    monkeypatch.setenv("KEPT", database)
    command = (
        "x=interval(1,2)",
        "hydra.sweeper.n_trials=9",
        "hydra.sweeper.storage=${oc.env:KEPT}",
        "callbacks@hydra.callbacks=mlflow",
    )
    hosts = [in_folder(bench, name) for name in ("one", "two")]
    answers = [ended(sweeper) for sweeper in [host.start(*command) for host in hosts]]
    assert [answer.code for answer in answers] == [0, 0], answers
    ran = [re.findall(r"working on (\d+)", answer.out) for answer in answers]
    assert sorted(int(number) for numbers in ran for number in numbers) == list(range(9))
    assert states_in(database) == ["COMPLETE"] * 9
    runs = client.search_runs([client.get_experiment_by_name("foreign").experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(runs) == 10
    assert parent.data.tags["trials.complete"] == "9"


def works_on(host, number):
    return is_written(host.directory(number) / "seen.json")


class Hosts:
    """Two hosts and a study. Its trials hang until they are released, on their own host each."""

    def __init__(self, bench, database):
        self.one, self.two = in_folder(bench, "one"), in_folder(bench, "two")
        self.command = (
            "x=1,2,3",
            "do=hang",
            f"hydra.sweeper.storage={database}",
            "callbacks@hydra.callbacks=mlflow",
        )
        self.sweeper = self.one.start(*self.command)

    def release(self):
        (self.two.folder / "release").touch()


@pytest.fixture
def hosts(bench, database, store):
    """The first host's sweeper is in the middle of trial 0."""
    both = Hosts(bench, database)
    with killed_at_the_end(both.sweeper):
        wait_until(lambda: works_on(both.one, 0), "the first trial")
        yield both


@pytest.mark.slow
def test_a_sweeper_on_another_host_that_lives_keeps_its_trial(hosts, database):
    hosts.release()
    answer = ended(hosts.two.start(*hosts.command))
    assert (answer.code, re.findall(r"working on (\d+)", answer.out)) == (0, ["1", "2"])
    assert "not complete" in answer.out
    assert states_in(database) == ["RUNNING", "COMPLETE", "COMPLETE"]


@pytest.mark.slow
def test_a_study_is_complete_where_the_last_trial_of_another_host_ends_as_this_one_closes(
    hosts, client, monkeypatch
):
    def close(runner):
        (hosts.one.folder / "release").touch()
        hosts.sweeper.communicate(timeout=HANG_TIMEOUT)

    hosts.release()
    monkeypatch.chdir(hosts.two.folder)
    monkeypatch.setattr(BatchExecutor, "close", close)
    hosts.two.sweep(*hosts.command)
    assert hosts.sweeper.returncode == 0
    runs = client.search_runs([client.get_experiment_by_name("foreign").experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 4


@pytest.mark.slow
def test_the_trial_of_a_sweeper_that_died_on_another_host_is_run_again(
    hosts, database, client, monkeypatch
):
    hosts.sweeper.kill()
    hosts.sweeper.wait()
    hosts.release()
    monkeypatch.chdir(hosts.two.folder)
    hosts.two.sweep(*hosts.command, "hydra.sweeper.n_trials=2")
    assert states_in(database) == ["RUNNING", "COMPLETE", "WAITING"]  # too early to say

    monkeypatch.setattr(lease, "GRACE", 1)
    hosts.two.sweep(*hosts.command)
    is_taken_over(database, client)


@pytest.mark.slow
def test_a_sweeper_that_runs_out_of_trials_takes_over_from_a_dead_one(
    hosts, database, client, monkeypatch
):
    grace = lease.INTERVAL + 3  # not before it is dead

    def kill_and_release():
        try:
            wait_until(lambda: works_on(hosts.two, 1), "the second trial")
            hosts.sweeper.kill()
            time.sleep(grace + 2)
        finally:
            hosts.release()

    monkeypatch.setattr(lease, "GRACE", grace)
    monkeypatch.chdir(hosts.two.folder)
    killing = threading.Thread(target=kill_and_release)
    killing.start()
    hosts.two.sweep(*hosts.command)
    killing.join()
    is_taken_over(database, client)


def is_taken_over(database, client):
    trials = trials_in(database)
    assert [t.state.name for t in trials] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert (trials[3].params, trials[3].user_attrs["retry_of"]) == ({"x": 1}, 0)
    runs = client.search_runs([client.get_experiment_by_name("foreign").experiment_id])
    assert sorted(run.info.status for run in runs) == ["FINISHED"] * 4 + ["KILLED"]


@pytest.mark.slow
def test_all_trials_of_one_that_died_on_this_machine_are_run_again_at_once(bench, database):
    command = ("x=1,2,3", "do=hang", f"hydra.sweeper.storage={database}")
    slots = ("hydra/launcher=slots", "hydra.launcher.cpu_slots=2")
    sweeper = bench.start(*command, *slots)
    with killed_at_the_end(sweeper):
        wait_until(lambda: works_on(bench, 0) and works_on(bench, 1), "both trials")
    (bench.folder / "release").touch()
    bench.sweep(*command)
    assert states_in(database) == ["FAIL", "FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]


@pytest.mark.slow
@pytest.mark.parametrize("is_over", [False, True], ids=["at work", "done"])
def test_a_trial_that_another_host_took_while_the_server_was_away_is_left_to_it(
    bench, server, database, monkeypatch, is_over
):
    command = ("x=1,2", "do=hang@0", f"hydra.sweeper.storage={database}")
    one, two = in_folder(bench, "one"), in_folder(bench, "two")
    (one.folder / "release").touch()
    draw = SearchSpace.draw
    others = []

    def draw_late(space, trial):
        if not others:
            server.stop()
            server.start()
            others.append(two.start(*command, "hydra.sweeper.n_trials=1"))
            wait_until(lambda: works_on(two, 0), "the other host")
            if is_over:
                (two.folder / "release").touch()
                others[0].wait(HANG_TIMEOUT)
        draw(space, trial)

    monkeypatch.setattr(SearchSpace, "draw", draw_late)
    monkeypatch.chdir(one.folder)
    try:
        answer = one.sweep(*command)
    finally:
        (two.folder / "release").touch()
        ended(*others)
    assert re.findall(r"working on (\d+)", answer.out) == ["1"]
    assert states_in(database) == ["COMPLETE"] * 2


def test_the_best_of_another_study_on_the_server_is_tried_first(bench, database):
    storage = f"hydra.sweeper.storage={database}"
    bench.sweep("x=3,1,2", storage, study="before")
    first = "hydra.sweeper.enqueue=[multirun/before]"
    bench.sweep("x=1,2,3,4", storage, first, "hydra.sweeper.n_trials=1", study="after")
    assert trials_in(database, "after")[0].params == {"x": 1}


@on_all_servers
@pytest.mark.slow
def test_an_outage_in_the_middle_is_waited_for(bench, server, database):
    """Once the server is killed and away for half a minute, and once it is stopped."""
    sweeper = bench.start(
        "x=range(1,9)",
        "steps=200",
        f"hydra.sweeper.storage={database}",
        "hydra/launcher=slots",
        "hydra.launcher.cpu_slots=2",
    )
    with killed_at_the_end(sweeper):
        for number, how, seconds in ((1, signal.SIGKILL, 30), (4, None, 3)):
            wait_until(lambda number=number: works_on(bench, number), "a trial in the middle")
            server.stop(how)
            time.sleep(seconds)
            server.start()
        answer = ended(sweeper)
    assert answer.code == 0, answer.err + answer.out
    trials = trials_in(database)
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 8
    assert all(len(trial.intermediate_values) == 200 for trial in trials)
    assert sorted(trial.value for trial in trials) == [x**2 for x in range(1, 9)]
    logs = [log.read_text() for log in (bench.folder / "multirun/s").glob("*/*.log")]
    assert any("does not answer" in said for said in (answer.out, answer.err, *logs))
    assert PASSWORD not in answer.out + answer.err


@pytest.mark.slow
def test_patience_comes_to_an_end_and_the_study_can_go_on(bench, server, database, monkeypatch):
    monkeypatch.setattr(retry, "TIMEOUT", 1.5)
    command = ("x=1,2,3", "do=hang@1", f"hydra.sweeper.storage={database}")
    stopping = threading.Thread(target=lambda: _stop_then_release(bench, server))
    stopping.start()
    answer = bench.sweep(*command, code=2)
    stopping.join()
    assert "has not answered for 1.5 s" in answer.err
    assert "same command again to resume" in answer.err
    assert len([line for line in answer.err.splitlines() if "has not answered" in line]) == 1
    server.start()
    bench.sweep(*command)
    assert sorted(states_in(database)) == ["COMPLETE"] * 3 + ["FAIL"]


def _stop_then_release(bench, server):
    wait_until(lambda: works_on(bench, 1), "the second trial")
    server.stop()
    (bench.folder / "release").touch()


@on_all_servers
def test_an_end_that_was_written_before_its_connection_broke_is_no_error(database, monkeypatch):
    study = optuna.create_study(storage=open_storage(database))
    trial = study.ask()._trial_id
    storage = reopen_storage(database)
    write = _CachedStorage.set_trial_state_values

    def lose_connection(*arguments):
        write(*arguments)
        monkeypatch.undo()
        raise OperationalError("the connection was lost", None, Exception())

    monkeypatch.setattr(_CachedStorage, "set_trial_state_values", lose_connection)
    assert storage.set_trial_state_values(trial, optuna.trial.TrialState.COMPLETE, [1.5])
    assert study.trials[0].value == 1.5
    for value in (1.5, 2.5):
        with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
            storage.set_trial_state_values(trial, optuna.trial.TrialState.COMPLETE, [value])


@on_all_servers
def test_a_lock_on_a_server_has_one_holder_at_a_time(server, database):
    order = []

    def hold(name):
        with storage_lock(database, "study")():
            order.append(f"{name} in")
            time.sleep(0.3)
            order.append(f"{name} out")

    holders = [threading.Thread(target=hold, args=[name]) for name in "abc"]
    for holder in holders:
        holder.start()
    with storage_lock(database, "another study")(), storage_lock(server.new_database(), "study")():
        pass  # neither is in their way
    for holder in holders:
        holder.join()
    assert order[::2] == [word.replace("out", "in") for word in order[1::2]]


def test_a_lock_goes_with_its_holder(database):
    code = (
        "import sys, time; from harnest.study.storage.lock import storage_lock\n"
        "with storage_lock(sys.argv[1], 's')(): print('held', flush=True); time.sleep(3600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, database], stdout=subprocess.PIPE)
    with killed_at_the_end(holder):
        assert holder.stdout.readline() == b"held\n"
        holder.kill()
        with storage_lock(database, "s")():
            pass


def test_a_lock_that_was_lost_is_told(server, database):
    lock = storage_lock(database, "s")()
    lock.__enter__()
    server.stop()
    server.start()
    with pytest.raises(LockLostError):
        lock.__exit__(None, None, None)


def test_two_that_open_a_new_database_at_once_both_can(server):
    for _ in range(3):
        database = server.new_database()
        errors = []

        def opening(database=database, errors=errors):
            try:
                open_storage(database)
            except StudyError as error:
                errors.append(error)

        both = [threading.Thread(target=opening) for _ in range(2)]
        for one in both:
            one.start()
        for one in both:
            one.join()
        assert errors == []
