"""Locks shared by all sweepers of a study, held where the study is stored.

For a file, this is an operating-system lock next to it. For a database on a server, whose sweepers
may run on several hosts, it is a lock of the server, which is released with its connection.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

JOURNAL = "journal://"

# SQL by SQLAlchemy's name of the server. _SET_UP makes the server end the session of an unreachable
# host, and so release its lock, within minutes.
_SET_UP = {
    "postgresql": "SELECT set_config('tcp_keepalives_idle', '60', false),"
    " set_config('tcp_keepalives_interval', '10', false),"
    " set_config('tcp_keepalives_count', '6', false)",
    "mysql": "SET SESSION wait_timeout = 600",
}
_TAKE = {
    "postgresql": "SELECT true FROM pg_advisory_lock(hashtextextended(:name, 0))",
    "mysql": "SELECT GET_LOCK(:name, 86400)",
}
_RELEASE = {
    "postgresql": "SELECT pg_advisory_unlock(hashtextextended(:name, 0))",
    "mysql": "SELECT RELEASE_LOCK(:name)",
}

Lock = Callable[[], AbstractContextManager[Any]]


class LockLostError(Exception):
    """The server released a lock while it was held; another process may have held it too."""


def storage_lock(address: str, name: str) -> Lock:
    """Return a function that acquires the lock ``name`` of the storage at ``address``.

    It returns a context manager. Entering it may raise SQLAlchemy's errors; leaving it raises
    `LockLostError` if the server released the lock meanwhile.
    """
    file = storage_file(address)
    if file is not None:
        return lambda: FileLock(file.parent / f".{name}.lock")
    return lambda: _server_lock(address, name)


def storage_file(address: str) -> Path | None:
    """Return the file of a journal or an SQLite database; None for a server."""
    if address.startswith(JOURNAL):
        return Path(address.removeprefix(JOURNAL))
    from sqlalchemy.engine import make_url

    url = make_url(address)
    return None if _server(url) in _TAKE else Path(url.database or "")


@contextmanager
def _server_lock(address: str, name: str) -> Iterator[None]:
    from sqlalchemy import NullPool, create_engine, text
    from sqlalchemy.exc import DBAPIError

    engine = create_engine(address, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    server = _server(engine.url)
    # MySQL's locks are global to the server; their names have at most 64 characters.
    key = hashlib.sha256(f"{engine.url.database}/{name}".encode()).hexdigest()[:40]
    with engine.connect() as connection:
        connection.execute(text(_SET_UP[server]))
        try:
            if not connection.execute(text(_TAKE[server]), {"name": key}).scalar():
                raise LockLostError
            yield
            try:
                is_held = connection.execute(text(_RELEASE[server]), {"name": key}).scalar()
            except DBAPIError:
                is_held = False
            if not is_held:
                raise LockLostError
        finally:
            connection.invalidate()  # unlike close, it cannot fail when the connection is lost


def _server(url: "URL") -> str:
    name = url.get_backend_name()
    return "mysql" if name == "mariadb" else name
