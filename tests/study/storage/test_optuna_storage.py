"""Where a study is kept, and what is never kept with it."""

import sqlite3

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import URL

from foreign_bench import files_of
from harnest.core.errors import StudyError
from harnest.core.secrets import redact
from harnest.study.storage import retry
from harnest.study.storage.optuna_storage import journal_address, open_storage, reopen_storage

PASSWORD = "s3cr3t"


class Vault(SQLiteDialect_pysqlite):
    """SQLite that asks for a user and a password, so that a test needs no server."""

    supports_statement_cache = True

    def create_connect_args(self, url):
        assert url.password == PASSWORD
        return super().create_connect_args(URL.create("sqlite", database=url.database))


class Leak(Vault):
    """A driver whose error quotes the address as it is."""

    def create_connect_args(self, url):
        raise ValueError(f"cannot connect to {url.render_as_string(hide_password=False)}")


registry.register("vault", __name__, "Vault")
registry.register("leak", __name__, "Leak")


def leaks(folder):
    """Files in which the password stands."""
    return [name for name, (_, content) in files_of(folder).items() if PASSWORD.encode() in content]


def test_a_study_in_a_database(bench):
    command = ("x=1,2,3", f"hydra.sweeper.storage=sqlite:///{bench.folder}/optuna.db")
    bench.sweep(*command, "hydra.sweeper.n_trials=2", "steps=2")
    bench.sweep(*command, "steps=2")
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{bench.folder}/optuna.db")
    assert [trial.value for trial in study.trials] == [1, 4, 9]
    assert [len(trial.intermediate_values) for trial in study.trials] == [2, 2, 2]
    assert not (bench.folder / "multirun/s/study.journal").exists()


@pytest.mark.parametrize("address", ["sqlite:///here.db?timeout=9", "journal://here.journal"])
def test_a_file_beside_the_command_is_the_same_for_jobs_that_go_elsewhere(
    bench, monkeypatch, address
):
    monkeypatch.setattr(retry, "TIMEOUT", 1.0)
    where = (f"hydra.sweeper.storage='{address}'", "hydra.job.chdir=true")
    bench.sweep("x=1,2", "steps=2", *where)
    absolute = address.replace("here", f"{bench.folder}/here")
    study = optuna.load_study(study_name="s", storage=open_storage(absolute))
    assert [trial.intermediate_values for trial in study.trials] == [{0: 1, 1: 0.5}, {0: 4, 1: 2}]


def test_a_database_without_tables_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(retry, "TIMEOUT", 1.0)
    with pytest.raises(StorageInternalError) as raised:
        optuna.load_study(study_name="s", storage=reopen_storage(f"sqlite:///{tmp_path}/empty.db"))
    assert "no such table" in retry.error_summary(raised.value)


def test_a_password_is_written_nowhere(bench):
    address = f"vault://me:{PASSWORD}@/{bench.folder}/optuna.db"
    answer = bench.sweep("x=1,2", "steps=1", "do=fail@1", f"hydra.sweeper.storage={address}")
    study = optuna.load_study(study_name="s", storage=address)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL"]
    assert leaks(bench.folder) == []
    assert PASSWORD not in answer.out
    assert PASSWORD not in answer.err
    assert study.trials[0].intermediate_values == {0: 1.0}  # so its process did have it


def test_the_command_that_goes_on_is_shown_without_the_password(bench):
    address = f"vault://me:{PASSWORD}@/{bench.folder}/optuna.db"
    answer = bench.sweep("x=1,2", "hydra.sweeper.timeout=0", f"hydra.sweeper.storage={address}")
    assert "go on:" in answer.out
    assert "vault://me:***@" in answer.out
    assert PASSWORD not in answer.out


def test_the_database_of_that_test_could_have_leaked(tmp_path):
    with sqlite3.connect(tmp_path / "x.db") as database:
        database.execute("create table t (word text)")
        database.execute("insert into t values (?)", [PASSWORD])
    assert leaks(tmp_path) == ["x.db"]


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://me:{PASSWORD}@127.0.0.1:1/none",
        f"sqlite://me:{PASSWORD}@somewhere/x.db",
        f"leak://me:{PASSWORD}@somewhere/x.db",
        f"nothing://me:{PASSWORD}@127.0.0.1/none",
    ],
)
def test_a_storage_that_cannot_be_opened_leaves_nothing(bench, address):
    answer = bench.sweep("x=1,2", f"hydra.sweeper.storage='{address}'", code=2)
    (line,) = answer.err.strip().splitlines()
    assert redact(address) in line
    assert PASSWORD not in answer.out + answer.err
    assert not (bench.folder / "multirun/s").exists()
    assert leaks(bench.folder) == []
    with pytest.raises(StudyError) as refused:
        open_storage(address)
    assert PASSWORD not in str(refused.value)


def test_a_journal_lies_in_the_directory_of_its_study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s").mkdir()
    optuna.create_study(study_name="s", storage=open_storage(journal_address(tmp_path / "s")))
    monkeypatch.chdir("/")
    summaries = optuna.get_all_study_names(open_storage(f"journal://{tmp_path}/s/study.journal"))
    assert summaries == ["s"]
