"""Real MLflow servers to cut off: stopped, killed, and started again on the same port."""

import contextlib
import http.client
import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from limits import HANG_TIMEOUT


def free_port(host: str = "127.0.0.1") -> int:
    """A port for a server that may go away for a while.

    The system gives those above to whoever connects, so that a free one may be taken by then.
    """
    while True:
        port = random.SystemRandom().randrange(10000, 32768)  # other workers have the same seed
        with contextlib.suppress(OSError), socket.create_server((host, port)):
            return port


class Server:
    """``mlflow server`` on a port of its own; a copy of a made database saves its migrations."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self.folder = folder
        self.host = host
        self.port = free_port(host)
        self.address = f"http://{host}:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = {
            "--backend-store-uri": f"sqlite:///{self.folder}/mlflow.db",
            "--artifacts-destination": str(self.folder / "artifacts"),
            "--host": self.host,
            "--port": str(self.port),
            "--allowed-hosts": f"{self.host}:{self.port}",
            "--workers": "1",
        }
        arguments = [part for option in options.items() for part in option]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *arguments],
            env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=(self.folder / "server.log").open("ab"),
            stderr=subprocess.STDOUT,
            start_new_session=True,  # it has workers, which go with it
        )
        deadline = time.monotonic() + HANG_TIMEOUT
        while not self.answers():
            assert time.monotonic() < deadline, (self.folder / "server.log").read_text()
            time.sleep(0.1)

    def answers(self) -> bool:
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"{self.address}/health", timeout=2).status == 200
        return False

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        if self.process is not None:
            self.signal(9)
            self.process.wait()
            self.process = None


class Proxy(ThreadingHTTPServer):
    """A reverse proxy before a server: what is longer than ``limit`` bytes it answers itself."""

    def __init__(self, server: Server, limit: int, status: int) -> None:
        super().__init__((server.host, 0), _Forward)
        self.server = server
        self.limit: float = limit
        self.status = status
        self.address = f"http://{server.host}:{self.server_port}"


class _Forward(BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if len(body) > self.server.limit:
            self.send_error(self.server.status)  # with a page in HTML, as nginx does
            return
        behind = http.client.HTTPConnection(self.server.server.host, self.server.server.port)
        headers = {key: value for key, value in self.headers.items() if key != "Host"}
        with contextlib.closing(behind):
            behind.request(self.command, self.path, body, headers)
            answer = behind.getresponse()
            content = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        """Nothing."""
