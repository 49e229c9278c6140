"""The run log: a file in a run's directory that holds every write before it goes to the store."""

import json
import logging
import os
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from harnest.core.errors import TrackingError
from harnest.core.secrets import redact
from harnest.tracking.outbox.logged_model import send_model
from harnest.tracking.outbox.operations import Write, apply, batches, now
from harnest.tracking.store import absolute_address

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

log = logging.getLogger(__name__)

#: Folder in a run's directory for the run log and files that exist only to be uploaded.
RECORD = "record"

_FILE = "journal.jsonl"
_MARK = "sent.json"
_ALIVE = ".alive"  # lock file, held by the process that must write the run's end
_BY = "record"  # tag: ID of the write that created the run
_PATIENCE = 5.0  # seconds to wait for a lock that another process or thread holds
_REFUSED = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"}
_FINAL = {400, 404, 413, 414, 415, 422}  # HTTP statuses for which a retry is pointless
#: MLflow's message for an HTTP error that comes from a proxy, not from its own server.
_FOREIGN = re.compile(r"API request to endpoint \S+ failed with error code (\d+) != ")


class StoreUnavailableError(TrackingError):
    """The store does not accept writes now; a retry may succeed."""


class RunLogBusyError(TrackingError):
    """Another process or thread is sending the run log."""


@dataclass(frozen=True)
class _Position:
    """Upload state of a run log, kept in a file beside it: how far it was sent, and where.

    ``offset`` is in bytes. ``trying`` is the offset of a write that creates something new. It is
    set before that write is sent, and cleared once the write is known to have arrived.
    """

    address: str
    run_id: str | None = None
    offset: int = 0
    trying: int | None = None


class RunLog:
    """The ordered writes to one run, each a line of JSON.

    Any number of processes and threads may add and send lines; a lock ensures that only one
    sends at a time. Writes that have arrived are not sent again. If a sender dies before it
    records the arrival, a write is sent twice, which changes nothing.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.folder = self.directory / RECORD
        self._file = self.folder / _FILE
        self._mark = self.folder / _MARK
        self._mutex = threading.Lock()
        self._alive = FileLock(self.folder / _ALIVE, timeout=0, thread_local=False)

    @staticmethod
    def begin(
        directory: Path, address: str, run_id: str | None = None, *, owned: bool = False
    ) -> "RunLog":
        """Create the run log of a run, or resume it if ``directory`` holds that run's.

        Args:
            directory: The run's directory.
            address: Address of the MLflow store; its password is not saved.
            run_id: MLflow's ID of the run; None if MLflow does not know the run yet.
            owned: Whether this process must write the run's end. It holds a lock file then, which
                shows other processes whether it has died.

        Raises:
            TrackingError: The directory holds the run log of another run that is active or not
                fully sent.
        """
        run_log = RunLog(directory)
        run_log.folder.mkdir(parents=True, exist_ok=True)
        with run_log._exclusive():
            is_there = run_log._file.exists() and run_log._mark.exists()
            if is_there and run_id is not None and run_log._sent().run_id == run_id:
                return run_log
            if run_log._is_held():
                raise TrackingError(
                    f"{directory} is in use by another run: choose another directory"
                )
            if is_there and run_log.unsent():
                raise TrackingError(
                    f"{directory} holds a run log that was not fully sent: send it with "
                    f"harnest-sync {directory}, or choose another directory"
                )
            # The order matters if the process dies here: no run log may exist with another run's
            # upload state, or without a holder of its lock file.
            run_log._file.unlink(missing_ok=True)
            (run_log.folder / _ALIVE).unlink(missing_ok=True)
            if owned:  # with a timeout, since other processes acquire it briefly to test it
                run_log._alive.acquire(timeout=_PATIENCE)
            run_log._save_position(_Position(redact(absolute_address(address)), run_id))
            run_log._file.touch()
        return run_log

    @property
    def address(self) -> str:
        """The store's address, with its password masked."""
        return self._sent().address

    @property
    def run_id(self) -> str | None:
        """MLflow's ID of the run; None if MLflow does not know the run yet."""
        return self._sent().run_id

    @property
    def artifacts(self) -> Path:
        """Folder for artifact files that do not belong in the run's directory itself."""
        return self.folder / "artifacts"

    def release(self) -> None:
        """Release the lock file, once this process has written the run's end."""
        self._alive.release()

    def is_abandoned(self) -> bool:
        """Return whether the process that must write the run's end died before it did."""
        # The order matters: the process may write the end and exit between the two checks.
        return self._is_held() is False and not self.has_ended()

    def _is_held(self) -> bool | None:
        """Return whether the process that must write the end is alive; None if there is none."""
        if not (self.folder / _ALIVE).exists():
            return None
        try:
            with self._alive:
                return False
        except Timeout:
            return True

    def has_ended(self) -> bool:
        """Return whether the run log contains the run's end."""
        return any(write["kind"] == "end" for write in self.writes())

    def create(self, experiment_id: str, name: str, tags: Mapping[str, str]) -> None:
        """Add a write that creates the run.

        Args:
            experiment_id: The experiment of the run.
            name: Name of the run.
            tags: Tags of the run.
        """
        self.add(
            {
                "kind": "create",
                "experiment_id": experiment_id,
                "run_name": name,
                "start_time": now(),
                "tags": {**tags, _BY: uuid.uuid4().hex},
            }
        )

    def add(self, write: Write) -> None:
        """Append a write; it is in the file when this returns."""
        line = json.dumps(write).encode() + b"\n"
        with self._mutex, self._file.open("a+b") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a process was killed while it wrote the last line
                    line = b"\n" + line
            file.write(line)

    def writes(self) -> list[Write]:
        """Return all writes so far."""
        return [write for write, _ in self._read(0)]

    def unsent(self) -> int:
        """Return how many writes have not been sent."""
        return sum(1 for _ in self._read(self._sent().offset))

    def is_behind(self) -> bool:
        """Return whether there are unsent bytes; compares only the file's size with the offset."""
        try:
            return self._file.stat().st_size > self._sent().offset
        except FileNotFoundError:  # the run's directory was removed
            return False

    def send(self, client: "MlflowClient") -> int:
        """Send the unsent writes in order; returns their number.

        Writes that the store rejects are logged and skipped.

        Raises:
            StoreUnavailableError: The store does not answer.
            RunLogBusyError: Another process or thread is sending.
        """
        count = 0
        with self._exclusive():
            for request, reached in batches(self._read(self._sent().offset)):
                self._try(client, request)
                self._save_position(replace(self._sent(), offset=reached, trying=None))
                count += len(request)
        return count

    def _try(self, client: "MlflowClient", request: list[Write]) -> None:
        try:
            self._send(client, request)
            return
        except Exception as error:  # stores and networks have their own exception types
            refusal = _refusal(error)
            if refusal is None:
                raise StoreUnavailableError(_reason(error)) from error
        parts = _parts(request)
        if len(parts) == 1:
            log.warning("MLflow rejects some %s: %s", request[0]["kind"], _reason(refusal))
            return
        for part in parts:  # find the rejected part and send the others
            self._try(client, part)

    def _send(self, client: "MlflowClient", request: list[Write]) -> None:
        write = request[0]
        if write["kind"] == "create":
            self._once(lambda again: self._create(client, write, again))
            return
        run_id = self._sent().run_id
        if run_id is None:
            raise FileNotFoundError("the run could not be made")
        if write["kind"] == "model":
            folder = self.directory / write["folder"]
            self._once(lambda again: send_model(client, run_id, write, folder, again))
        else:
            apply(client, run_id, request, self.directory)

    def _once(self, make: Callable[[bool], None]) -> None:
        """Create something new; ``make`` receives whether an earlier attempt may have done so."""
        sent = self._sent()
        again = sent.trying == sent.offset
        if not again:
            self._save_position(replace(sent, trying=sent.offset))
        make(again)

    def _create(self, client: "MlflowClient", write: Write, again: bool) -> None:
        content = {key: value for key, value in write.items() if key != "kind"}
        found: list[MlflowRun] = []
        if again:
            condition = f"tags.{_BY} = '{write['tags'][_BY]}'"
            found = client.search_runs([write["experiment_id"]], condition, max_results=1)
        made = found[0] if found else client.create_run(**content)
        self._save_position(replace(self._sent(), run_id=made.info.run_id))

    def _read(self, offset: int) -> Iterator[tuple[Write, int]]:
        """Yield each complete line from ``offset`` on, parsed, with the offset behind it."""
        with self._file.open("rb") as file:
            file.seek(offset)
            for line in file:
                offset += len(line)
                if not line.endswith(b"\n"):
                    return
                try:
                    write = json.loads(line)
                except ValueError:  # a partial line, from a process that was killed
                    continue
                yield write, offset

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        try:
            # A new lock object each time: a shared one is reentrant and admits other threads.
            with FileLock(self.folder / ".lock", timeout=_PATIENCE):
                yield
        except Timeout as error:
            raise RunLogBusyError(
                f"{self.directory}: another process is sending its record"
            ) from error

    def _sent(self) -> _Position:
        return _Position(**json.loads(self._mark.read_text()))

    def _save_position(self, sent: _Position) -> None:
        new = self._mark.with_suffix(".new")
        new.write_text(json.dumps(asdict(sent)))
        new.replace(self._mark)


def run_logs_below(directory: Path) -> list[RunLog]:
    """Return the run logs in ``directory`` and below.

    A run log without an upload state is skipped: nothing was written to it yet.
    """
    found = recorded_below(directory, _FILE)
    return [RunLog(one) for one in found if (one / RECORD / _MARK).exists()]


def recorded_below(directory: Path, name: str) -> list[Path]:
    """Return the run directories at or below ``directory`` whose record has a file ``name``."""
    # Path.rglob fails if a folder disappears during the search, as that of a run that cannot
    # start does.
    walked = ((Path(folder), names) for folder, _, names in os.walk(directory))
    return sorted(one.parent for one, names in walked if one.name == RECORD and name in names)


def _parts(request: list[Write]) -> list[list[Write]]:
    """Split a request into what can be rejected separately: its writes, or a write's files."""
    if len(request) > 1:
        return [[write] for write in request]
    (write,) = request
    return [[write | {"paths": [path]}] for path in write.get("paths", ())] or [request]


def _reason(error: BaseException) -> str:
    cause = error.__cause__ or error.__context__
    if hasattr(error, "error_code") and isinstance(cause, OSError):  # a network error
        return "it does not answer"
    return redact((str(error).strip() or type(error).__name__).splitlines()[0])


def _refusal(error: BaseException) -> BaseException | None:
    """Return the error that makes a retry pointless, such as a rejected value, or None."""
    if getattr(error, "error_code", None) in _REFUSED or isinstance(error, FileNotFoundError):
        return error
    found: BaseException | None = error
    while found is not None and _status(found) not in _FINAL:
        found = found.__cause__ or found.__context__  # MLflow may fail to parse a proxy's answer
    return found


def _status(error: BaseException) -> int | None:
    """Return the HTTP status of an error; None if it has none."""
    told = _FOREIGN.match(str(error))
    if told is None:
        return getattr(getattr(error, "response", None), "status_code", None)
    # A proxy that has lost its server answers 404 as well, so an API call is retried. Uploads of
    # files, whose errors hold a response, are skipped on 404.
    return int(told[1]) if told[1] != "404" else None
