"""Leases of sweepers on running trials, and detection of trials whose sweeper is dead.

Each sweeper holds an operating-system lock on its own file. The kernel releases the lock when the
process ends for any reason, so a lock that can be acquired belongs to a dead sweeper. Unlike a
process ID, it cannot be confused with that of another process.

With a database on a server, the file may be on another host. There a sweeper also records Optuna's
heartbeats for its trials, in the database and by the database's clock.
"""

import threading
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from harnest.study.storage.lock import storage_file
from harnest.study.storage.optuna_storage import reopen_database
from harnest.study.storage.retry import TIMEOUT, storage_retry

#: Trial attribute: token of the sweeper that started the trial.
SWEEPER = "sweeper"

#: Name of a sweeper's lock file, by its token.
FILE = ".sweeper-{}.lock"

#: Seconds between two heartbeats of a trial.
INTERVAL = 15
#: Seconds after a trial's last heartbeat at which its sweeper counts as dead; longer than a sweeper
#: waits for a server that does not answer.
GRACE = int(TIMEOUT) + 4 * INTERVAL


class Lease:
    """The lease of this sweeper on its running trials.

    Args:
        token: Identifies this sweeper in the storage.
        folder: Folder of the sweepers' lock files.
        heartbeat: Records heartbeats; None if the study is in a file.
    """

    def __init__(self, token: str, folder: Path, heartbeat: "_Heartbeat | None") -> None:
        self.token = token
        self.trials: set[int] = set()
        self._folder = folder
        self._heartbeat = heartbeat

    def acquire(self, trial: int) -> None:
        """Add a trial, given by its ID in the storage, and record its first heartbeat."""
        if self._heartbeat is not None:
            self._heartbeat.beat(trial)
        self.trials.add(trial)

    def release(self, trial: int) -> None:
        """Remove a trial, given by its ID in the storage."""
        self.trials.discard(trial)

    def stale_trials(self, study: int, running: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Return the running trials whose sweepers are dead.

        Args:
            study: ID of the study in the storage.
            running: The study's running trials.
        """
        others = {
            trial._trial_id: trial.user_attrs[SWEEPER]
            for trial in running
            if trial.user_attrs.get(SWEEPER) not in (None, self.token)
        }
        if not others:
            return []
        alive = {token: _is_alive(self._folder, token) for token in set(others.values())}
        silent = set(others) if self._heartbeat is None else self._heartbeat.stale(study)

        def is_dead(trial: int) -> bool:
            lives = alive[others[trial]]
            return trial in silent if lives is None else not lives

        return [t for t in running if t._trial_id in others and is_dead(t._trial_id)]


@contextmanager
def hold_lease(address: str, directory: Path) -> Iterator[Lease]:
    """Hold a lease on trials of the study stored at ``address``.

    Args:
        address: Address of the study's storage.
        directory: The study's directory, for the lock file if the storage is on a server.
    """
    file = storage_file(address)
    # Next to a file that holds the study, because all its sweepers use that folder.
    folder = directory if file is None else file.absolute().parent
    token = uuid.uuid4().hex[:12]
    heartbeat = _Heartbeat(address) if file is None else None
    owner = Lease(token, folder, heartbeat)
    ended = threading.Event()
    try:
        with FileLock(_file(folder, token)):
            if heartbeat is not None:
                threading.Thread(
                    target=heartbeat.beat_periodically, args=[owner.trials, ended], daemon=True
                ).start()
            yield owner
    finally:
        ended.set()
        if not owner.trials:  # else the unlocked file marks the trials as stale
            _file(folder, token).unlink(missing_ok=True)


class _Heartbeat:
    """Records heartbeats over a separate database connection."""

    def __init__(self, address: str) -> None:
        self._retry = storage_retry(address)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            self._storage: RDBStorage = self._retry(
                lambda: reopen_database(address, heartbeat_interval=INTERVAL, grace_period=GRACE)
            )

    def beat(self, trial: int) -> None:
        self._retry(lambda: self._storage.record_heartbeat(trial))

    def beat_periodically(self, trials: set[int], ended: threading.Event) -> None:
        while not ended.wait(INTERVAL):
            for trial in tuple(trials):
                with suppress(StorageInternalError):  # the next heartbeat follows soon
                    self._storage.record_heartbeat(trial)

    def stale(self, study: int) -> set[int]:
        """Return the IDs of running trials whose last heartbeat is older than `GRACE`."""
        return set(self._retry(lambda: self._storage._get_stale_trial_ids(study)))


def _is_alive(folder: Path, token: str) -> bool | None:
    """Return whether the sweeper ``token`` is running; None if its file does not exist."""
    if not _file(folder, token).exists():
        return None
    try:
        with FileLock(_file(folder, token), timeout=0):
            pass
    except Timeout:
        return True
    _file(folder, token).unlink(missing_ok=True)
    return False


def _file(folder: Path, token: str) -> Path:
    return folder / FILE.format(token)
