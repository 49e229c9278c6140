import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "study" / "foreign"))

from foreign_bench import bench, runner  # noqa: F401


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """The database file of a store that was made once, for all tests to copy."""
    from harnest.tracking.store import open_store

    folder = tmp_path_factory.mktemp("store")
    open_store(f"sqlite:///{folder}/mlflow.db")
    return folder / "mlflow.db"


@pytest.fixture
def store(empty_store, tmp_path, monkeypatch):
    """Address of a new store; artifacts go to the test's folder, which is the working one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_RUN_ID", "")
    monkeypatch.delenv("MLFLOW_RUN_ID")
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    address = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("STORE", address)  # where the foreign application's callback writes
    return address


@pytest.fixture
def client(store):
    from harnest.tracking.store import open_store

    return open_store(store)
