"""Opens the Optuna storage at an address."""

import re
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

from filelock import FileLock
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage, _CachedStorage
from optuna.storages.journal import JournalStorage
from optuna.trial import TrialState

from harnest.core.errors import StudyError
from harnest.core.secrets import redact
from harnest.study.storage.journal_file import RepairingJournalFile
from harnest.study.storage.lock import JOURNAL, storage_lock
from harnest.study.storage.retry import StorageRetry, error_summary, storage_retry

#: By the server that an address begins with: our extra with its driver, and how that is named.
_EXTRAS = {
    "postgresql": ("postgresql", "postgresql+psycopg"),
    "mysql": ("mysql", "mysql+pymysql"),
    "mariadb": ("mysql", "mariadb+pymysql"),
}

#: Before the path of a file that is not absolute; SQLite has a database in memory as well.
_RELATIVE = re.compile(rf"^({JOURNAL}|sqlite(\+\w+)?:///)(?=[^/?:])(?!file:)")


def journal_address(directory: Path) -> str:
    """Address of the journal file in the directory of a study."""
    return f"{JOURNAL}{directory.absolute() / 'study.journal'}"


def absolute_address(address: str) -> str:
    """The address with an absolute file path: jobs may run in other folders."""
    return _RELATIVE.sub(lambda scheme: f"{scheme[0]}{Path.cwd()}/", address)


def open_storage(address: str) -> BaseStorage:
    """Open a storage, and create its tables if they do not exist.

    Later calls on the storage are retried while the database does not answer.

    Args:
        address: ``journal://FILE``, or a database address that Optuna accepts.

    Raises:
        StudyError: The storage cannot be opened.
    """
    if address.startswith(JOURNAL):
        return _journal(address)
    try:
        with storage_lock(address, "tables")():  # several that make them at once fail
            RDBStorage(address).engine.dispose()
        return _RetryingStorage(reopen_database(address), storage_retry(address))
    except Exception as error:  # each database driver has its own errors
        told = f"the study's storage {redact(address)} cannot be opened: {error_summary(error)}"
        extra = _EXTRAS.get(address.partition(":")[0].partition("+")[0])
        if isinstance(error, ImportError) and extra is not None:
            told += f"; pip install 'harnest[{extra[0]}]' and begin the address with {extra[1]}://"
        raise StudyError(told) from error


def reopen_storage(address: str) -> BaseStorage:
    """Open a storage that `open_storage` has opened before, retrying if it does not answer.

    Raises:
        StudyError: The storage did not answer within the time limit.
    """
    if address.startswith(JOURNAL):
        return _journal(address)
    retry = storage_retry(address)
    return _RetryingStorage(retry(lambda: reopen_database(address)), retry)


def reopen_database(address: str, **heartbeats: int) -> RDBStorage:
    """Open another connection to a database that `open_storage` has opened before."""
    return RDBStorage(
        address,
        {"pool_pre_ping": True},
        skip_compatibility_check=True,
        skip_table_creation=True,
        **heartbeats,  # type: ignore[arg-type]
    )


class _RetryingStorage(_CachedStorage):
    """Optuna's database storage, which retries calls while the database does not answer."""

    def __init__(self, database: RDBStorage, retry: StorageRetry) -> None:
        super().__init__(database)
        self._retry = retry
        self._wait()

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name not in _WAITING}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self._wait()

    def _wait(self) -> None:
        def waiting(method: Any) -> Any:
            return lambda *args, **kwargs: self._retry(lambda: method(*args, **kwargs))

        for name in _WAITING:
            setattr(self, name, waiting(getattr(self, name)))

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set a trial's state; a retry may find the state already set, which is no error."""
        tell = super().set_trial_state_values
        tries = count()

        def try_once() -> bool:
            is_again = next(tries) > 0
            try:
                return tell(trial_id, state, values)
            except UpdateFinishedTrialError:
                told = self.get_trial(trial_id)
                is_told = told.state is state and list(told.values or ()) == list(values or ())
                if is_again and is_told:
                    return True
                raise

        return self._retry(try_once)


#: Methods that wait as a whole.
_WAITING = BaseStorage.__abstractmethods__ - {"set_trial_state_values"}


class _KernelLock:
    """A file lock that the kernel releases when its holder dies.

    Optuna's own file locks outlive a killed process; others then wait for a grace period of 30 s.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        # The lock is held for about a millisecond, so poll often.
        self._lock = FileLock(file, thread_local=False, poll_interval=0.002)

    def __reduce__(self) -> tuple[Any, ...]:
        return _KernelLock, (self._file,)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


def _journal(address: str) -> BaseStorage:
    file = address.removeprefix(JOURNAL)
    lock: Any = _KernelLock(f"{file}.writing")
    return JournalStorage(RepairingJournalFile(file, lock_obj=lock))
