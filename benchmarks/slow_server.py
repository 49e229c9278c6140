"""Does training wait for its tracking server? Epochs beside a near server and a far one.

    python benchmarks/slow_server.py [PAIRS] [EPOCHS] [OVERRIDE ...]

Starts an MLflow server, and a proxy that delivers what is sent to it 100 ms later, as a server
far away would. Then it trains in turns beside the one and the other, in pairs, since a machine's
speed changes while it works, and compares the medians of the epochs' times without each run's
first one. Needs a quiet machine: the ratio of two runs beside the same server is shown as well,
which is what it can tell apart.
"""

import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

DELAY = 0.1  # seconds, for each request
PROGRAMS = Path(sys.executable).parent
SMALL = ["trainer=cpu", "trainer.enable_progress_bar=false", "callbacks.early_stopping=null"]


def figures(pairs: int = 3, epochs: int = 12) -> dict[str, float]:
    """Medians of the epochs beside the far server and beside the near one, and their ratio."""
    took = measure(pairs, epochs)
    medians = {way: statistics.median(seconds) for way, seconds in took.items()}
    return {**medians, "ratio": medians["far"] / medians["near"]}


def measure(pairs: int, epochs: int, overrides: Sequence[str] = ()) -> dict[str, list[float]]:
    """Train beside both servers; seconds of each epoch."""
    arguments = [*SMALL, f"trainer.max_epochs={epochs}", *overrides]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        port = free_port()
        server = start_server(folder, port)
        proxy = start_proxy(port)
        try:
            near = f"http://127.0.0.1:{port}"
            ways = {"near": near, "far": f"http://127.0.0.1:{proxy}", "near again": near}
            print(f"each request to the far server takes {probe(ways['far']):.3f} s")
            print(f"each request to the near server takes {probe(near):.3f} s")
            took: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(pairs):
                for way, address in ways.items():
                    took[way] += train(folder, address, arguments)
        finally:
            stop(server)
    return took


def main() -> None:
    """Train beside both servers and compare."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 12
    took = measure(pairs, epochs, sys.argv[3:])
    medians = {way: statistics.median(seconds) for way, seconds in took.items()}
    for way, seconds in medians.items():
        ratio = seconds / medians["near"]
        print(f"{way:12}{seconds:8.3f} s an epoch, {ratio:6.3f} of near ({len(took[way])} epochs)")


def train(folder: Path, address: str, arguments: list[str]) -> list[float]:
    """Seconds of each epoch but the first, as the run itself measured them."""
    import mlflow

    environment = os.environ | {"MLFLOW_TRACKING_URI": address}
    subprocess.run(
        [PROGRAMS / "harnest-train", *arguments],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
    )
    client = mlflow.MlflowClient(address)
    experiment = client.get_experiment_by_name("harnest")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], max_results=1)
    history = client.get_metric_history(run.info.run_id, "epoch_seconds")
    return [metric.value for metric in sorted(history, key=lambda one: one.step)][1:]


def start_server(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    """Start an MLflow server and wait until it answers."""
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
            *("--artifacts-destination", str(folder / "artifacts")),
        ],
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # it has workers, which are to end with it
    )
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
            return server
        except OSError:
            if time.monotonic() > deadline or server.poll() is not None:
                stop(server)
                raise
            time.sleep(0.2)


def stop(server: "subprocess.Popen[bytes]") -> None:
    """End a server and its workers."""
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def start_proxy(port: int) -> int:
    """Pass connections on to ``port``, what they send `DELAY` later; returns the proxy's port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            client, _ = listening.accept()
            server = socket.create_connection(("127.0.0.1", port))
            for source, target, delay in ((client, server, DELAY), (server, client, 0.0)):
                threading.Thread(target=pump, args=(source, target, delay), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listening.getsockname()[1])


def pump(source: socket.socket, target: socket.socket, delay: float) -> None:
    """Copy until the source is closed."""
    with contextlib.suppress(OSError):  # the other direction has closed both
        while chunk := source.recv(1 << 20):
            time.sleep(delay)
            target.sendall(chunk)
    source.close()
    target.close()


def probe(address: str) -> float:
    """Seconds of one request."""
    began = time.monotonic()
    urllib.request.urlopen(f"{address}/health", timeout=5)
    return time.monotonic() - began


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


if __name__ == "__main__":
    main()
