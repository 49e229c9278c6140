"""Database servers of the tests' own: in a temporary folder, on a free port of 127.0.0.1."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy

from limits import HANG_TIMEOUT
from servers import free_port

USER, PASSWORD = "harnest", "pl4nted-s3cr3t"

# Where .ci/run unpacks MySQL's own server.
_MYSQL = Path("/var/cache/harnest/mysql")

# No server runs as root.
_AS = {"user": "nobody", "group": "nogroup", "extra_groups": ()} if os.geteuid() == 0 else {}


@dataclass
class Server:
    """A running server; `stop` and `start` make outages."""

    scheme: str
    port: int
    command: list[str]
    folder: Path
    system: str  # the database that is always there
    ending: signal.Signals  # lets it end without waiting for its clients
    user: str = USER
    process: subprocess.Popen[bytes] | None = None

    def address(self, database: str, password: str = PASSWORD, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{self.user}:{password}@{host}:{self.port}/{database}"

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, stdout=log, stderr=log, **_AS
            )
        engine = sqlalchemy.create_engine(
            self.address(self.system), poolclass=sqlalchemy.pool.NullPool
        )
        deadline = time.monotonic() + HANG_TIMEOUT
        while True:
            try:
                engine.connect().close()
            except sqlalchemy.exc.OperationalError:
                said = (self.folder / "server.log").read_text()
                assert self.process.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.05)
            else:
                return

    def stop(self, how: signal.Signals | None = None) -> None:
        assert self.process is not None
        self.process.send_signal(how or self.ending)
        self.process.wait(HANG_TIMEOUT)

    def new_database(self) -> str:
        """Make an empty database; its address."""
        name = f"t{uuid.uuid4().hex[:10]}"
        self.execute(f"CREATE DATABASE {name}")
        return self.address(name)

    def execute(self, statement: str) -> None:
        engine = sqlalchemy.create_engine(
            self.address(self.system),
            isolation_level="AUTOCOMMIT",
            poolclass=sqlalchemy.pool.NullPool,
        )
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(statement))


@contextmanager
def postgresql(*others: str) -> Iterator[Server]:
    """It also listens at addresses of this host's where ``others`` reach it."""
    programs = _programs("postgresql", ["initdb", "postgres"], ["/usr/lib/postgresql/*/bin"])
    with _folder() as folder:
        (folder / "password").write_text(PASSWORD)
        data = folder / "data"
        made = [programs["initdb"], "-D", data, "-U", USER, f"--pwfile={folder / 'password'}"]
        _run([*made, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"], folder)
        (folder / "password").unlink()
        with (data / "pg_hba.conf").open("a") as rules:
            rules.writelines(f"host all all {other}/24 scram-sha-256\n" for other in others)
        port = free_port()
        options = {
            "port": port,
            "listen_addresses": ",".join(["127.0.0.1", *others]),
            "unix_socket_directories": "",
            "fsync": "off",
        }
        settings = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        command = [programs["postgres"], "-D", str(data), *settings]
        yield from _served(
            Server("postgresql+psycopg", port, command, folder, "postgres", signal.SIGINT)
        )


@contextmanager
def mariadb(user: str = USER, *arguments: str) -> Iterator[Server]:
    """``user`` may do everything, as MySQL's root may; ``arguments`` are the server's."""
    programs = _programs("mariadb", ["mariadb-install-db", "mariadbd"], ["/usr/sbin"])
    with _folder() as folder:
        data = folder / "data"
        _run([programs["mariadb-install-db"], "--no-defaults", f"--datadir={data}"], folder)
        (folder / "init.sql").write_text(
            f"CREATE USER IF NOT EXISTS '{user}'@'%' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO '{user}'@'%' WITH GRANT OPTION;\n"
        )
        port = free_port()
        options = {
            "datadir": data,
            "port": port,
            "bind-address": "127.0.0.1",
            "socket": folder / "socket",
            "pid-file": folder / "pid",
            "init-file": folder / "init.sql",
            "skip-name-resolve": "on",
            "innodb-flush-log-at-trx-commit": 2,  # no commit is lost with a killed server
            "max-connections": 100,
            "log-bin": "binlog",  # as MySQL by default: it restricts who may create triggers
            "server-id": 1,
        }
        settings = [f"--{key}={value}" for key, value in options.items()]
        command = [programs["mariadbd"], "--no-defaults", *settings, *arguments]
        yield from _served(
            Server("mysql+pymysql", port, command, folder, "mysql", signal.SIGTERM, user)
        )


@contextmanager
def mysql(user: str = USER, *arguments: str) -> Iterator[Server]:
    """MySQL's own server, from where ``.ci/unpack-mysql`` puts it; else as `mariadb`."""
    root = _MYSQL
    if not (root / "usr/sbin/mysqld").is_file():
        pytest.skip(f"MySQL's server is not in {root}: as root, .ci/unpack-mysql {root}")
    # Its libraries, libc among them, are newer than this system's.
    (loader,) = root.glob("usr/lib/*/ld-linux-*.so.*")
    libraries = f"{loader.parent}:{root}/usr/lib/mysql/private"
    program = [str(loader), "--library-path", libraries, str(root / "usr/sbin/mysqld")]
    with _folder() as folder:
        port = free_port()
        options = {
            "basedir": root / "usr",
            "datadir": folder / "data",
            "innodb-flush-log-at-trx-commit": 2,  # no commit is lost with a killed server
        }
        command = [*program, "--no-defaults", *(f"--{k}={v}" for k, v in options.items())]
        _run([*command, "--initialize-insecure"], folder)
        (folder / "init.sql").write_text(
            f"CREATE USER IF NOT EXISTS '{user}'@'%' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO '{user}'@'%' WITH GRANT OPTION;\n"
        )
        options = {
            "port": port,
            "bind-address": "127.0.0.1",
            "socket": folder / "socket",
            "pid-file": folder / "pid",
            "init-file": folder / "init.sql",
            "mysqlx": "off",
            "secure-file-priv": "NULL",  # no folder of the system is needed
            "max-connections": 100,
        }
        settings = [f"--{key}={value}" for key, value in options.items()]
        yield from _served(
            Server(
                "mysql+pymysql",
                port,
                [*command, "--skip-name-resolve", *settings, *arguments],
                folder,
                "mysql",
                signal.SIGTERM,
                user,
            )
        )


SERVERS: dict[str, Callable[[], Iterator[Server]]] = {
    "postgresql": postgresql,
    "mariadb": mariadb,
    "mysql": mysql,
}
#: MySQL starts slowly and is much like MariaDB: tests of what differs, and of the essentials.
ON_REQUEST = {"mysql"}

on_all_servers = pytest.mark.parametrize(
    "server",
    [
        pytest.param(
            name,
            marks=[pytest.mark.xdist_group(name), *[pytest.mark.slow] * (name in ON_REQUEST)],
        )
        for name in SERVERS
    ],
    indirect=True,
)


def _served(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop()


def _programs(server: str, names: list[str], places: list[str]) -> dict[str, str]:
    folders = [str(path) for place in places for path in sorted(Path("/").glob(place[1:]))]
    path = os.pathsep.join([os.environ.get("PATH", ""), *folders])
    found = {name: shutil.which(name, path=path) for name in names}
    missing = [name for name, program in found.items() if program is None]
    if missing:
        pytest.skip(f"{server} is not installed: no {missing[0]}")
    return found


@contextmanager
def _folder() -> Iterator[Path]:
    """One that another user can use: pytest's own are closed to it."""
    folder = Path(tempfile.mkdtemp(prefix="harnest-server-"))
    if _AS:
        shutil.chown(folder, _AS["user"], _AS["group"])
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[object], folder: Path) -> None:
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, capture_output=True, text=True, **_AS
    )
    assert done.returncode == 0, done.stdout + done.stderr
