"""Where a study is kept."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from harnest.errors import StudyError
from harnest.secrets import redact

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

_JOURNAL = "journal://"


def journal_in(directory: Path) -> str:
    """Address of the journal file that keeps the study of ``directory``."""
    return f"{_JOURNAL}{directory.absolute() / 'study.journal'}"


def open_storage(address: str) -> "BaseStorage":
    """Open ``journal://FILE``, or any database address that Optuna takes.

    Raises `StudyError` where it cannot be opened.
    """
    from optuna.storages import get_storage
    from optuna.storages.journal import JournalStorage

    from harnest.study.journal import Journal

    if address.startswith(_JOURNAL):
        file = address.removeprefix(_JOURNAL)
        lock: Any = _KernelLock(f"{file}.writing")
        return JournalStorage(Journal(file, lock_obj=lock))
    try:
        return get_storage(address)
    except Exception as error:  # each database driver has errors of its own
        first = str(error).strip().splitlines()[0]
        raise StudyError(
            f"the study's storage {redact(address)} cannot be opened: {redact(first)}"
        ) from error


class _KernelLock:
    """A lock that dies with its holder.

    Optuna's own file locks outlive a killed process, and everyone then waits out their grace
    period of half a minute.
    """

    def __init__(self, file: str) -> None:
        self._lock = FileLock(file, thread_local=False)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()
