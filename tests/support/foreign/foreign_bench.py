"""A bench for sweeps of the foreign application: shared by the tests of study and tracking."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
from filelock import FileLock

from limits import HANG_TIMEOUT

APP = Path(__file__).with_name("foreign_app.py")


@dataclass(frozen=True)
class Answer:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Bench:
    """A folder in which the foreign application is swept, and what came of it."""

    folder: Path
    run: Callable[..., Answer]

    def sweep(self, *arguments: str, study: str = "s", code: int = 0) -> Answer:
        """Sweep in this process; the exit code has to be ``code``."""
        named = () if study in ("", None) else (f"hydra.sweeper.study={study}",)
        answer = self.run("-m", *named, *arguments)
        assert answer.code == code, answer.err + answer.out
        return answer

    def start(self, *arguments: str, study: str = "s") -> subprocess.Popen[bytes]:
        """Start a sweep in a process of its own."""
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        for name in ("HARNEST_TRIAL", "HARNEST_STUDY", "HARNEST_STORAGE", "HYDRA_FULL_ERROR"):
            environment.pop(name, None)
        return subprocess.Popen(
            [sys.executable, str(APP), "-m", f"hydra.sweeper.study={study}", *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def directory(self, number: int, study: str = "s") -> Path:
        return self.folder / "multirun" / study / str(number)

    def open(self, study: str = "s") -> optuna.Study:
        """Optuna's own record, read afresh."""
        journal = optuna.storages.journal.JournalFileBackend(
            str(self.folder / "multirun" / study / "study.journal")
        )
        storage = optuna.storages.JournalStorage(journal)
        return optuna.load_study(study_name=study, storage=storage)

    def trials(self, study: str = "s") -> list[optuna.trial.FrozenTrial]:
        return self.open(study).trials

    def states(self, study: str = "s") -> list[str]:
        return [trial.state.name for trial in self.trials(study)]


@pytest.fixture
def runner(monkeypatch, capfd):
    """Calls the foreign application's main in this process, as its command line would."""
    from foreign_app import main

    # Set first, so that whatever a sweep leaves in them is undone.
    for name in ("HYDRA_FULL_ERROR", "HARNEST_STORAGE", "HARNEST_TRIAL", "MLFLOW_RUN_ID"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", [str(APP), *arguments])
        code = 0
        for name in ("HYDRA_FULL_ERROR", "HARNEST_STORAGE"):
            os.environ.pop(name, None)
        capfd.readouterr()
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capfd.readouterr()
        return Answer(code, out, err)

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def bench(tmp_path, monkeypatch, runner):
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path, runner)


@pytest.fixture(scope="session")
def empty_store(one_cache):
    """The database file of a store that was made once, for the tests of all workers to copy.

    It gets its name once it is whole, and no store is opened in that place: a copy made while
    MLflow looks at a database might not be one.
    """
    from harnest.tracking.store import open_store

    folder = one_cache.with_name("empty-store")
    folder.mkdir(exist_ok=True)
    with FileLock(folder / ".lock"):
        if not (folder / "mlflow.db").exists():
            open_store(f"sqlite:///{folder}/new.db")
            shutil.copy(folder / "new.db", folder / "mlflow.db")
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


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds, for a minute and a half at most."""
    deadline = time.monotonic() + HANG_TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what} in vain"
        time.sleep(0.02)


def is_written(file: Path) -> bool:
    """Whether a file is there, and what is written to it at once is in it."""
    return file.exists() and file.stat().st_size > 0


def files_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time and content of every file in a folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
