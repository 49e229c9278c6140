import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from harnest.core.errors import TrackingError
from harnest.tracking import store as stores
from harnest.tracking.store import absolute_address, experiment_id, open_existing, open_store

EIGHT = """
import multiprocessing
import mlflow.store.tracking.sqlalchemy_store  # seconds, that eight processes need not wait for
from harnest.tracking.store import experiment_id, open_store


def open_and_run(together):
    together.wait()
    client = open_store("sqlite:///mlflow.db")
    client.create_run(experiment_id(client, "together"))


context = multiprocessing.get_context("fork")
together = context.Barrier(8)
processes = [context.Process(target=open_and_run, args=[together]) for _ in range(8)]
for process in processes:
    process.start()
for process in processes:
    process.join()
print([process.exitcode for process in processes])
"""


@pytest.mark.slow
def test_eight_processes_on_a_new_folder_all_get_their_run(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", EIGHT], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str([0] * 8), done.stderr
    client = open_store(f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'together'")
    assert len(client.search_runs([experiment.experiment_id])) == 8
    assert {path.name for path in tmp_path.iterdir()} <= {
        "mlflow.db",
        "mlflow.db.lock",
        "mlruns",
    }


def test_a_store_that_was_made_half_is_made_again(empty_store, tmp_path):
    """What a kill leaves: the unfinished file beside, the real name not there."""
    (tmp_path / "mlflow.db.new").write_bytes(empty_store.read_bytes()[:5000])
    client = open_store(f"sqlite:///{tmp_path}/mlflow.db")
    assert client.create_run(experiment_id(client, "x")).info.status == "RUNNING"
    assert not (tmp_path / "mlflow.db.new").exists()


def test_each_folder_has_its_own_store_also_in_one_process(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        client = open_store("sqlite:///mlflow.db")
        assert client.get_experiment_by_name("x") is None
        experiment_id(client, "x")


def test_an_address_may_have_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    address = "sqlite:///mine.db?timeout=30"
    identity = experiment_id(open_store(address), "x")
    elsewhere = absolute_address(address)
    assert elsewhere == f"sqlite:///{tmp_path}/mine.db?timeout=30"
    monkeypatch.chdir("/")
    assert open_existing(elsewhere).get_experiment(identity).name == "x"
    assert {path.name for path in tmp_path.iterdir()} <= {"mine.db", "mine.db.lock", "mlruns"}


@pytest.mark.parametrize("address", ["./mlruns", "mlruns", "/somewhere/mlruns", "file:///mlruns"])
def test_folders_are_refused_with_what_to_use(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrackingError, match="sqlite:///FILE") as refused:
        open_store(address)
    assert address in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named_and_not_made(tmp_path):
    with pytest.raises(TrackingError, match="missing does not exist"):
        open_store(f"sqlite:///{tmp_path}/missing/mlflow.db")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_told_and_kept(tmp_path):
    file = tmp_path / "mlflow.db"
    file.write_text("my notes, many of them\n" * 200)
    with pytest.raises(TrackingError, match="cannot be used"):
        open_store(f"sqlite:///{file}")
    assert file.read_text().startswith("my notes")


def test_a_schema_of_another_time_is_told(empty_store, tmp_path):
    file = tmp_path / "mlflow.db"
    shutil.copy(empty_store, file)
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("update alembic_version set version_num = '451aebb31d03'")
    with pytest.raises(TrackingError, match="out-of-date database schema"):
        open_store(f"sqlite:///{file}")


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:{port}", "http://me:s3cr3t@127.0.0.1:{port}"]
)
def test_a_server_that_is_away_is_named(address):
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(TrackingError, match=f"127.0.0.1:{port} does not answer") as refused:
        open_store(address.format(port=port))
    assert "logger=csv" in str(refused.value)
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("address", ["http://127.0.0.1:port", "http://127.0.0.1:99999", "http://"])
def test_an_address_that_is_none_is_named(address):
    with pytest.raises(TrackingError) as refused:
        open_store(address)
    assert address in str(refused.value)


def test_a_server_that_accepts_and_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(stores, "_PATIENCE", 0.3)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TrackingError, match="does not answer"):
            open_store(address)


def test_patience_leaves_room_in_twenty_seconds():
    """Connecting, connecting again, waiting for an answer."""
    assert 3 * stores._PATIENCE < 20


class _Broken(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(502)

    def log_message(self, *args):
        """Nothing."""


def test_a_gateway_without_its_server_is_told():
    server = HTTPServer(("127.0.0.1", 0), _Broken)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with pytest.raises(TrackingError, match="HTTP status 502"):
            open_store(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_database_that_cannot_be_reached_is_told_without_its_password():
    with pytest.raises(TrackingError, match="cannot be used") as refused:
        open_store("postgresql://me:s3cr3t@127.0.0.1:1/none")
    assert "s3cr3t" not in str(refused.value)


def test_an_experiment_is_made_once(client):
    assert experiment_id(client, "x") == experiment_id(client, "x") != experiment_id(client, "y")


def test_an_experiment_that_another_process_makes_at_that_moment_is_taken(client, monkeypatch):
    make = client.create_experiment

    def late(*arguments):
        make(*arguments)
        return make(*arguments)

    monkeypatch.setattr(client, "create_experiment", late)
    assert experiment_id(client, "x") == client.get_experiment_by_name("x").experiment_id


def test_an_experiment_that_mlflow_does_not_take_is_told(client):
    with pytest.raises(TrackingError, match=r"experiment a{501} cannot be created: .*experiment="):
        experiment_id(client, "a" * 501)


def test_a_deleted_experiment_is_told_with_how_to_restore_it(client):
    identity = experiment_id(client, "x")
    client.delete_experiment(identity)
    with pytest.raises(TrackingError, match=f"restore -x {identity}"):
        experiment_id(client, "x")
