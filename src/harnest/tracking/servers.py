"""Servers that display records: MLflow's UI and optuna-dashboard."""

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
_PATIENCE = 120.0  # seconds until a server must answer; its imports take long
_GRACE = 5.0  # seconds between SIGTERM and SIGKILL


def serve(store: str, study: str | None, port: int, is_loud: bool) -> None:
    """Start the servers, print their addresses, and wait for Ctrl-C.

    Args:
        store: Address of the MLflow store.
        study: Name or folder of the study for optuna-dashboard; None for the newest one in
            ``multirun/``.
        port: Port for MLflow's UI. If it is in use, the system chooses another one.
        is_loud: Whether to show the servers' own output.

    Raises:
        StudyError: ``study`` has no journal file.
        TrackingError: The store does not exist or cannot be used, a server exits or does not
            answer, or no port is free.
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
    open_existing(store)  # raises before any server starts
    addresses = {}
    if store.startswith(("http://", "https://")):
        addresses["MLflow"] = store  # a tracking server includes the UI
    else:
        port = _free(port)
        command = ["mlflow", "ui", "--host", _HOST, "--port", str(port), "--workers", "1"]
        # The store's address goes into the environment: it may hold a password, and command lines
        # are visible to other users. Job execution serves language models only and would start
        # seven unused processes. Telemetry is opt-in.
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
    with suppress(KeyboardInterrupt):  # Ctrl-C is the normal way to stop
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
    """Return the Optuna journal of a study; None if no study is named and there is none.

    Raises:
        StudyError: The named folder has no journal.
    """
    if study is not None:
        for folder in (Path(study), Path("multirun") / study):
            if (folder / _JOURNAL).is_file():
                return folder / _JOURNAL
        raise StudyError(f"{study} is not a study folder: it has no {_JOURNAL}")
    there = Path("multirun").glob(f"*/{_JOURNAL}")
    return max(there, key=lambda file: file.stat().st_mtime, default=None)


def _free(port: int) -> int:
    """Return ``port`` if it is free, else a free port chosen by the system."""
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
        start_new_session=True,  # its workers are in one group, which `_end` kills
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
