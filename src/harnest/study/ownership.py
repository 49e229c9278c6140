"""Which sweeper process a running trial belongs to, and whether it still lives.

A sweeper holds an operating-system lock on a file of its own in the study's directory. The
kernel lets go of it when the process ends, in whatever way, so a lock that can be taken belongs
to a dead sweeper. Unlike a process number it cannot be mistaken for another process.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

#: Trial attribute: the sweeper that started it.
OWNER = "sweeper"


@contextmanager
def owner_token(directory: Path) -> Iterator[str]:
    """A name for this sweeper that `is_alive` recognises as long as its process lives."""
    token = uuid.uuid4().hex[:12]
    try:
        with FileLock(_file(directory, token)):
            yield token
    finally:
        _file(directory, token).unlink(missing_ok=True)


def is_alive(directory: Path, token: str | None) -> bool:
    """Whether the sweeper called ``token`` still runs."""
    if token is None or not _file(directory, token).exists():
        return False
    try:
        with FileLock(_file(directory, token), timeout=0):
            pass
    except Timeout:
        return True
    _file(directory, token).unlink(missing_ok=True)
    return False


def _file(directory: Path, token: str) -> Path:
    return directory / f".sweeper-{token}.lock"
