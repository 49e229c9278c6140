"""Servers that show what was recorded: MLflow's UI and optuna-dashboard."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from harnest.core.errors import StudyError, TrackingError
from harnest.core.secrets import redact
from harnest.tracking.store import open_existing

_HOST = "127.0.0.1"
_JOURNAL = "study.journal"
_PATIENCE = 120.0  # seconds for a server to answer; it imports for a while
_GRACE = 5.0  # seconds that it has to end by itself


def serve(store: str, study: str | None, port: int, is_loud: bool) -> None:
    """Start the servers, print where they are, and wait for Ctrl-C.

    Args:
        store: Address of the MLflow store.
        study: Name or folder of the study for optuna-dashboard; None: the newest in ``multirun/``.
        port: For MLflow; where it is taken, the system chooses another.
        is_loud: Whether the servers' own output is shown.

    Raises `HarnestError` where there is nothing to show, or a server ends by itself.
    """
    servers: list[subprocess.Popen[bytes]] = []
    try:
        _serve(store, study, port, is_loud, servers)
    finally:
        _end(servers)


def _serve(
    store: str,
    study: str | None,
    port: int,
    is_loud: bool,
    servers: list["subprocess.Popen[bytes]"],
) -> None:
    journal = _journal(study)
    open_existing(store)  # what is not there is told at once
    addresses = {}
    if store.startswith(("http://", "https://")):
        addresses["MLflow"] = store  # it has a UI of its own
    else:
        port = _free(port)
        command = ["mlflow", "ui", "--host", _HOST, "--port", str(port), "--workers", "1"]
        # In the environment: a database's address may hold a password, and others see arguments.
        # Jobs are for language models: seven processes that nobody would use.
        # Nothing leaves the machine, and nothing runs on it but the pages.
        environment = {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": os.environ.get("MLFLOW_DISABLE_TELEMETRY", "true"),
        }
        servers.append(_start(command, is_loud, MLFLOW_BACKEND_STORE_URI=store, **environment))
        addresses["MLflow"] = f"http://{_HOST}:{port}"
    if journal is not None and find_spec("optuna_dashboard") is not None:
        port = _free(8080)
        command = ["optuna-dashboard", str(journal), "--host", _HOST, "--port", str(port)]
        servers.append(_start(command, is_loud))
        addresses["optuna-dashboard"] = f"http://{_HOST}:{port}"
    with suppress(KeyboardInterrupt):  # it is how this ends
        for name, address in addresses.items():
            if address != store:
                _await(address, servers)
            print(f"{name + ':':<18}{redact(address)}", flush=True)
        if servers:
            print("Ctrl-C ends it", flush=True)
        while servers:
            _check(servers)
            time.sleep(0.2)


def _journal(study: str | None) -> Path | None:
    """The file that keeps a study; None where none is named and there is none.

    Raises `StudyError` where a folder is named that has none.
    """
    if study is not None:
        for folder in (Path(study), Path("multirun") / study):
            if (folder / _JOURNAL).is_file():
                return folder / _JOURNAL
        raise StudyError(f"{study} is no folder of a study: it has no {_JOURNAL}")
    there = Path("multirun").glob(f"*/{_JOURNAL}")
    return max(there, key=lambda file: file.stat().st_mtime, default=None)


def _free(port: int) -> int:
    """``port``, or one that the system chooses where it is taken."""
    for one in (port, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((_HOST, one))
            return int(probe.getsockname()[1])
    raise TrackingError(f"no port is free on {_HOST}")


def _start(command: list[str], is_loud: bool, **environment: str) -> "subprocess.Popen[bytes]":
    output = None if is_loud else subprocess.DEVNULL
    program = Path(sys.executable).with_name(command[0])
    return subprocess.Popen(  # noqa: S603
        [str(program), *command[1:]],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,  # it has workers, and all are to end together
    )


def _await(address: str, servers: list["subprocess.Popen[bytes]"]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not _answers(address):
        _check(servers)
        if time.monotonic() > deadline:
            raise TrackingError(f"{address} does not answer; -v shows what the server says")
        time.sleep(0.1)


def _answers(address: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(address, timeout=5.0):  # noqa: S310  ours
        return True
    return False


def _check(servers: list["subprocess.Popen[bytes]"]) -> None:
    for server in servers:
        if server.poll() is not None:
            name = Path(str(server.args[0])).name  # type: ignore[index]
            raise TrackingError(
                f"{name} ended with code {server.returncode}; -v shows what it says"
            )


def _end(servers: list["subprocess.Popen[bytes]"]) -> None:
    for number, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, None)):
        for server in servers:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, number)
        for server in servers:
            with suppress(subprocess.TimeoutExpired):
                server.wait(patience)
