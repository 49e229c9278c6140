import shutil

import pytest

from servers import Server


@pytest.fixture(scope="session")
def one_server(empty_store, tmp_path_factory):
    """A server for all tests of a worker: to start one takes seconds."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder / "mlflow.db")
    server = Server(folder)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(one_server, monkeypatch, tmp_path):
    """An MLflow server that answers; the test may do to it what it likes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_RUN_ID", "")
    monkeypatch.delenv("MLFLOW_RUN_ID")
    monkeypatch.setenv("STORE", one_server.address)
    if not one_server.answers():
        one_server.kill()
        one_server.start()
    return one_server
