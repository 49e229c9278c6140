"""MLflow stores: local or remote databases, and tracking servers."""

import logging
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from filelock import FileLock

from harnest.core.errors import TrackingError
from harnest.core.secrets import redact
from harnest.core.silence_libraries import silence_libraries

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: With this tag the UI opens an experiment on its training runs, not on language model traces.
_FOR_TRAINING = {"mlflow.experimentKind": "custom_model_development"}

_SQLITE = "sqlite:///"
_PATIENCE = 5.0  # seconds for a server to accept a connection

#: Reasons by MySQL error number. Only the first start fails with 1419: MySQL does not roll back
#: table creation, so later starts find unexpected tables and fail with 1050.
_UNFINISHED = {
    1419: "MySQL's binary log forbids its triggers",
    1050: "the database has only some of MLflow's tables: an earlier start failed (for example "
    "because MySQL's binary log forbids its triggers), or another process is creating them now",
}


def open_store(address: str) -> "MlflowClient":
    """Open the store at ``address``; creates a local database if it does not exist.

    Raises:
        TrackingError: The store cannot be used. A server that does not answer raises within 20 s.
    """
    scheme = urlsplit(address).scheme
    if scheme in ("http", "https"):
        _await_server(address)
    elif scheme == "sqlite":
        _make_database(address)
    elif scheme in ("", "file"):
        raise TrackingError(
            f"logger.mlflow.tracking_uri={address}: MLflow keeps runs in databases only; "
            "use sqlite:///FILE or a server's http://HOST:PORT"
        )
    try:
        if scheme.startswith(("postgresql", "mysql")):
            _try_database(address)
        client = connect(address)
        client.search_experiments(max_results=1)
    except Exception as error:  # every database driver has its own exception types
        if getattr(error, "error_code", None) == "UNAUTHENTICATED":
            raise TrackingError(
                f"the MLflow server at {redact(address)} does not know this user and password: set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            ) from error
        if scheme.startswith("mysql") and (reason := _why_unfinished(error)):
            raise TrackingError(
                f"the MLflow store {redact(address)} cannot be made: {reason}; start the server "
                "with --skip-log-bin or --log-bin-trust-function-creators=1, and give MLflow a "
                "new, empty database"
            ) from error
        first = str(error).strip().splitlines()[0]
        raise TrackingError(
            f"the MLflow store {redact(address)} cannot be used: {redact(first)}"
        ) from error
    return client


def connect(address: str) -> "MlflowClient":
    """Return a client of the store at ``address``, without contacting a server."""
    # Telemetry is opt-in. The uploader retries on its own, so MLflow should fail early: on an
    # unavailable server immediately, on one that hangs in seconds instead of a quarter hour.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # MLflow would print the address of each finished run into the study's live table.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it logs every retry
    import mlflow

    # MLflow caches connections by address: a relative one would stay bound to the first folder.
    return mlflow.MlflowClient(absolute_address(address))


def open_existing(address: str) -> "MlflowClient":
    """Open a store for reading; never creates one.

    Raises:
        TrackingError: The store does not exist or cannot be used.
    """
    if address.startswith(_SQLITE) and not _is_made(_file(address)):
        raise TrackingError(
            f"there is no MLflow store {address}: train something first, go to the folder where "
            "it is, or give it with --tracking-uri"
        )
    return open_store(address)


def set_default_store(address: str) -> None:
    """Make ``address`` this process's default store, which MLflow's functions for models use."""
    import mlflow

    mlflow.set_tracking_uri(address)


def experiment_id(client: "MlflowClient", name: str) -> str:
    """Return the ID of the experiment called ``name``; creates it if it does not exist.

    Raises:
        TrackingError: The experiment was deleted, or MLflow rejects its name.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            place = _beside_database(client.tracking_uri, name)
            return str(client.create_experiment(name, place, _FOR_TRAINING))
        except MlflowException as error:
            found = client.get_experiment_by_name(name)
            if found is None:  # otherwise another process has just created it
                first = str(error).strip().splitlines()[0]
                raise TrackingError(
                    f"the MLflow experiment {name} cannot be created: {first}; choose another "
                    "name with logger.mlflow.experiment="
                ) from error
    if found.lifecycle_stage == "deleted":
        raise TrackingError(
            f"the MLflow experiment {name} was deleted; restore it with "
            f"`mlflow experiments restore -x {found.experiment_id}` or choose another with "
            "logger.mlflow.experiment="
        )
    return str(found.experiment_id)


def absolute_address(address: str) -> str:
    """Return ``address`` in a form that is independent of the working directory."""
    if not address.startswith(_SQLITE):
        return address
    _, asks, options = address.partition("?")
    return f"{_SQLITE}{_file(address)}{asks}{options}"


def _beside_database(address: str, experiment: str) -> str | None:
    """Return the artifact location beside a local database; None for other stores."""
    if not address.startswith(_SQLITE):
        return None  # the server or MLflow's default decides
    return str(_file(address).parent / "mlruns" / experiment)


def _file(address: str) -> Path:
    """Return the path of a local database, without options such as ``?timeout=30``."""
    return Path(address.removeprefix(_SQLITE).partition("?")[0]).absolute()


def _why_unfinished(error: BaseException | None) -> str | None:
    """Return why MySQL prevents MLflow from creating its schema; None if for another reason."""
    while error is not None:
        for code, reason in _UNFINISHED.items():
            if error.args[:1] == (code,):
                return reason
        error = error.__cause__ or error.__context__
    return None


def _await_server(address: str) -> None:
    try:
        parts = urlsplit(address)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), _PATIENCE).close()
        _ask_health(address)
    except (OSError, ValueError) as error:  # ValueError: malformed address
        raise TrackingError(
            f"the MLflow server at {redact(address)} does not answer ({error}); start it, or use "
            "logger=csv or logger=none"
        ) from error


def _ask_health(address: str) -> None:
    import requests

    started = time.monotonic()
    response = requests.get(f"{address.rstrip('/')}/health", timeout=_PATIENCE)
    if response.status_code >= 500:
        took = time.monotonic() - started
        raise OSError(f"HTTP status {response.status_code} after {took:.1f} s")


def _try_database(address: str) -> None:
    """Connect once: MLflow itself retries for 90 s, even with a wrong password."""
    import sqlalchemy

    waits = {"connect_timeout": int(_PATIENCE)}  # same name in psycopg and PyMySQL
    engine = sqlalchemy.create_engine(address, connect_args=waits)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def _make_database(address: str) -> None:
    """Create the database if it does not exist; safe to call from several processes at once.

    MLflow's migrations fail if several processes open a new database at the same time. The
    database is therefore created under a temporary name and renamed: if it exists, it is ready.
    """
    file = _file(address)
    if _is_made(file):
        return
    if not file.parent.is_dir():
        raise TrackingError(f"{address}: the folder {file.parent} does not exist; make it first")
    try:
        with FileLock(f"{file}.lock"):
            if _is_made(file):
                return
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

            silence_libraries()
            new = file.with_name(f"{file.name}.new")
            new.unlink(missing_ok=True)
            make: Any = SqlAlchemyStore
            store = make(f"sqlite:///{new}", str(file.parent / "mlruns"))
            store.engine.dispose()
            new.replace(file)
    except OSError as error:
        raise TrackingError(f"{address} cannot be made: {error.strerror or error}") from error


def _is_made(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > 0
