"""A run's journal: every write is a line in the run's directory before it goes to the store."""

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
from harnest.tracking.outbox.operations import Write, deliver, merged, now
from harnest.tracking.store import absolute_address

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

log = logging.getLogger(__name__)

#: The folder in a run's directory that holds its journal and what it made only to be recorded.
RECORD = "record"

_FILE = "journal.jsonl"
_MARK = "sent.json"
_ALIVE = ".alive"  # held by the process that is to write the run's end
_BY = "record"  # a tag: which journal a run was made by
_PATIENCE = 5.0  # seconds for another process or thread to send what it is at
_REFUSED = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"}
_FINAL = {400, 404, 413, 414, 415, 422}  # HTTP statuses that the same request will get again
#: How MLflow tells of an answer that is not its own server's, but a proxy's before it.
_FOREIGN = re.compile(r"API request to endpoint \S+ failed with error code (\d+) != ")


class StoreUnavailableError(TrackingError):
    """A store that does not take writes now and may do so later."""


class RunLogBusyError(TrackingError):
    """A journal that another process or thread is sending."""


@dataclass(frozen=True)
class _Sent:
    """How far a journal has been sent, and where: kept beside it.

    ``offset`` counts bytes. ``trying`` is the offset of a write that makes something new, from
    before it is sent until it is known to have arrived.
    """

    address: str
    run_id: str | None = None
    offset: int = 0
    trying: int | None = None


class RunLog:
    """The writes to one run, in order, each a line of JSON.

    Any number of processes and threads may add lines and send them; a lock lets one send at a
    time. Writes that arrived are not sent again, and one that is sent twice (the sender died
    before it could note that) changes nothing.
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
        """Begin the journal of a run, or go on with it where it is the same run's.

        An ``owned`` one is this process's to write the run's end to; the system shows when it dies.
        Raises `TrackingError` where the directory holds another run's that is at work, or that has
        not been sent to its end.
        """
        run_log = RunLog(directory)
        run_log.folder.mkdir(parents=True, exist_ok=True)
        with run_log._sole():
            is_there = run_log._file.exists() and run_log._mark.exists()
            if is_there and run_id is not None and run_log._sent().run_id == run_id:
                return run_log
            if run_log._is_held():
                raise TrackingError(
                    f"{directory} is the directory of a run that is at work: choose another one"
                )
            if is_there and run_log.unsent():
                raise TrackingError(
                    f"{directory} holds a record that has not arrived in its store yet: send it "
                    f"with harnest-sync {directory}, or choose another directory"
                )
            # In this order a process that dies here leaves no journal without its own mark, and
            # no journal is there that nobody seems to hold.
            run_log._file.unlink(missing_ok=True)
            (run_log.folder / _ALIVE).unlink(missing_ok=True)
            if owned:  # not at once: others take it for a moment to see whether it is held
                run_log._alive.acquire(timeout=_PATIENCE)
            run_log._note(_Sent(redact(absolute_address(address)), run_id))
            run_log._file.touch()
        return run_log

    @property
    def address(self) -> str:
        """The store's address, without its password."""
        return self._sent().address

    @property
    def run_id(self) -> str | None:
        """MLflow's identity of the run, or None where MLflow does not know it yet."""
        return self._sent().run_id

    @property
    def artifacts(self) -> Path:
        """Where to put a file that becomes an artifact and is no part of the directory itself."""
        return self.folder / "artifacts"

    def release(self) -> None:
        """Show that this process has written the run's end."""
        self._alive.release()

    def is_abandoned(self) -> bool:
        """Whether the process that was to write the run's end died before it could."""
        # Asked in this order: it may write the end, and go, between the two.
        return self._is_held() is False and not self.has_ended()

    def _is_held(self) -> bool | None:
        """Whether the process lives that is to write the run's end; None where there is none."""
        if not (self.folder / _ALIVE).exists():
            return None
        try:
            with self._alive:
                return False
        except Timeout:
            return True

    def has_ended(self) -> bool:
        """Whether it says how the run ended."""
        return any(write["kind"] == "end" for write in self.writes())

    def create(self, experiment_id: str, name: str, tags: Mapping[str, str]) -> None:
        """Add that the run is to be made."""
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
        """Add a write; it is in the file when this returns."""
        line = json.dumps(write).encode() + b"\n"
        with self._mutex, self._file.open("a+b") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # whoever wrote last was killed while it did
                    line = b"\n" + line
            file.write(line)

    def writes(self) -> list[Write]:
        """All writes so far."""
        return [write for write, _ in self._read(0)]

    def unsent(self) -> int:
        """How many writes have not arrived."""
        return sum(1 for _ in self._read(self._sent().offset))

    def is_behind(self) -> bool:
        """Whether there is more in it than has been sent, by its length alone."""
        try:
            return self._file.stat().st_size > self._sent().offset
        except FileNotFoundError:  # somebody has removed the run
            return False

    def send(self, client: "MlflowClient") -> int:
        """Send what has not arrived, in order; returns how many writes that were.

        Writes that the store refuses are logged and left out. Raises `StoreUnavailableError` where
        the store does not answer, `RunLogBusyError` where another process or thread is sending.
        """
        count = 0
        with self._sole():
            for request, reached in merged(self._read(self._sent().offset)):
                self._try(client, request)
                self._note(replace(self._sent(), offset=reached, trying=None))
                count += len(request)
        return count

    def _try(self, client: "MlflowClient", request: list[Write]) -> None:
        try:
            self._send(client, request)
            return
        except Exception as error:  # each store and each network has errors of its own
            refusal = _refusal(error)
            if refusal is None:
                raise StoreUnavailableError(_reason(error)) from error
        parts = _parts(request)
        if len(parts) == 1:
            log.warning("MLflow does not take some %s: %s", request[0]["kind"], _reason(refusal))
            return
        for part in parts:  # the others are not to blame
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
            deliver(client, run_id, request, self.directory)

    def _once(self, make: Callable[[bool], None]) -> None:
        """Make something new; ``make`` is told whether an earlier try may have made it already."""
        sent = self._sent()
        again = sent.trying == sent.offset
        if not again:
            self._note(replace(sent, trying=sent.offset))
        make(again)

    def _create(self, client: "MlflowClient", write: Write, again: bool) -> None:
        content = {key: value for key, value in write.items() if key != "kind"}
        found: list[MlflowRun] = []
        if again:
            condition = f"tags.{_BY} = '{write['tags'][_BY]}'"
            found = client.search_runs([write["experiment_id"]], condition, max_results=1)
        made = found[0] if found else client.create_run(**content)
        self._note(replace(self._sent(), run_id=made.info.run_id))

    def _read(self, offset: int) -> Iterator[tuple[Write, int]]:
        """Whole lines from ``offset`` on, each with the offset behind it."""
        with self._file.open("rb") as file:
            file.seek(offset)
            for line in file:
                offset += len(line)
                if not line.endswith(b"\n"):
                    return
                try:
                    write = json.loads(line)
                except ValueError:  # the half of a line, from a process that was killed
                    continue
                yield write, offset

    @contextmanager
    def _sole(self) -> Iterator[None]:
        try:
            # A lock of its own each time: one that is held lets every thread that has it in again.
            with FileLock(self.folder / ".lock", timeout=_PATIENCE):
                yield
        except Timeout as error:
            raise RunLogBusyError(
                f"{self.directory}: another process is sending its record"
            ) from error

    def _sent(self) -> _Sent:
        return _Sent(**json.loads(self._mark.read_text()))

    def _note(self, sent: _Sent) -> None:
        new = self._mark.with_suffix(".new")
        new.write_text(json.dumps(asdict(sent)))
        new.replace(self._mark)


def run_logs_below(directory: Path) -> list[RunLog]:
    """The journals of a run, of a study with its trials, or of all that is in a folder.

    One without its mark belongs to no run: nothing was written to it yet.
    """
    found = recorded_below(directory, _FILE)
    return [RunLog(one) for one in found if (one / RECORD / _MARK).exists()]


def recorded_below(directory: Path, name: str) -> list[Path]:
    """The directories of runs, ``directory`` or below it, whose record holds a file ``name``."""
    # Not by rglob: it fails where a folder is removed while it looks, as that of a run is which
    # could not begin.
    walked = ((Path(folder), names) for folder, _, names in os.walk(directory))
    return sorted(one.parent for one, names in walked if one.name == RECORD and name in names)


def _parts(request: list[Write]) -> list[list[Write]]:
    """What of a request can be refused by itself: each write, and each file of one."""
    if len(request) > 1:
        return [[write] for write in request]
    (write,) = request
    return [[write | {"paths": [path]}] for path in write.get("paths", ())] or [request]


def _reason(error: BaseException) -> str:
    cause = error.__cause__ or error.__context__
    if hasattr(error, "error_code") and isinstance(cause, OSError):  # of the network
        return "it does not answer"
    return redact((str(error).strip() or type(error).__name__).splitlines()[0])


def _refusal(error: BaseException) -> BaseException | None:
    """Which error says that trying again is in vain: a value or file that MLflow does not take."""
    if getattr(error, "error_code", None) in _REFUSED or isinstance(error, FileNotFoundError):
        return error
    found: BaseException | None = error
    while found is not None and _status(found) not in _FINAL:
        found = found.__cause__ or found.__context__  # MLflow may stumble over a proxy's answer
    return found


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error is about, where it says one."""
    told = _FOREIGN.match(str(error))
    if told is None:
        return getattr(getattr(error, "response", None), "status_code", None)
    # A proxy that has lost its server says 404 as well: a file is left out then, and no run.
    return int(told[1]) if told[1] != "404" else None
