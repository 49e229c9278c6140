"""Retries database operations while the database is unavailable."""

import logging
import random
import time
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from optuna.exceptions import StorageInternalError

from harnest.core.errors import StudyError
from harnest.core.secrets import redact

#: Seconds that a database may be away.
TIMEOUT = 120.0

_PAUSE = (0.1, 1.0)  # seconds between two tries, with jitter
_QUIET = 1.0  # seconds after which to speak of it: a deadlock is over sooner

_log = logging.getLogger(__name__)
T = TypeVar("T")


class StorageRetry:
    """Retries an operation while the database at ``address`` is unavailable.

    The timeout counts from the last successful operation and is shared by all callers.
    """

    def __init__(self, address: str) -> None:
        self._address = redact(address)
        self._since: float | None = None
        self._has_spoken = False

    def __call__(self, work: Callable[[], T]) -> T:
        """Call ``work`` until the database answers, and return its result.

        A failed try may have taken effect, so ``work`` has to be safe to repeat.

        Raises:
            StudyError: The database did not answer within `TIMEOUT`.
        """
        while True:
            try:
                result = work()
            except Exception as error:
                if not _is_unavailable(error):
                    raise
                self._wait(error)
            else:
                if self._has_spoken:
                    _log.warning("the study's storage %s is back", self._address)
                self._since, self._has_spoken = None, False
                return result

    def _wait(self, error: Exception) -> None:
        now = time.monotonic()
        since = self._since = self._since or now
        if now - since > TIMEOUT:
            raise StudyError(
                f"the study's storage {self._address} has not answered for {TIMEOUT:g} s; run the "
                f"same command again to resume ({error_summary(error)})"
            ) from error
        if now - since > _QUIET and not self._has_spoken:
            _log.warning(
                "the study's storage %s does not answer; waiting for up to %g s (%s)",
                self._address,
                TIMEOUT,
                error_summary(error),
            )
            self._has_spoken = True
        time.sleep(random.uniform(*_PAUSE))  # noqa: S311


@cache
def storage_retry(address: str) -> StorageRetry:
    """Return this process's retry for the database at ``address``, shared by all callers."""
    return StorageRetry(address)


def error_summary(error: BaseException) -> str:
    """The message of a database error, in one line and without a password."""
    if isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    error = getattr(error, "orig", None) or error
    text = str(error.args[-1] if error.args else error).strip()
    return redact(text.splitlines()[0]) if text else type(error).__name__


def _is_unavailable(error: Exception) -> bool:
    """Whether the connection or the server failed, and not the statement."""
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError

    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    # SQLite's error for a file that was replaced or emptied: retrying is useless.
    if "no such table" in str(cause):
        return False
    is_lost = isinstance(cause, DBAPIError) and cause.connection_invalidated
    # PendingRollbackError follows another error, in a session that has lost its server.
    return is_lost or isinstance(cause, (OperationalError, InterfaceError, PendingRollbackError))
