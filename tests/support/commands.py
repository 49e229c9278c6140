"""Ways to give one of harnest's commands: as a user does, or in a process that is warm."""

import csv
import gc
import importlib
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from limits import HANG_TIMEOUT

_MODULES = {
    name: f"harnest.cli.{name}"
    for name in ("train", "evaluate", "compare", "predict", "sync", "rerun", "promote", "ui")
}

# Without MLflow, each command that asks a store would import it anew, for more than a second.
_IMPORTED = [
    "harnest.cli.app",
    "harnest.har.trial_imports",
    "mlflow.pyfunc",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
]


@dataclass(frozen=True)
class Answer:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line of a command that could not do as it was told."""
        assert self.code == 2, self
        assert self.out == "", self
        lines = self.err.splitlines()
        assert len(lines) == 1, self
        return lines[0]


def command(name: str, *arguments: str, folder: Path, **environment: str) -> Answer:
    """Give ``harnest-NAME`` in ``folder``, as a user does."""
    program = Path(sys.executable).with_name(f"harnest-{name}")
    done = subprocess.run(
        [program, *arguments],
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_TIMEOUT,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def warm(
    name: str,
    *arguments: str,
    folder: Path,
    interrupt: tuple[signal.Signals, Callable[[], bool]] | None = None,
    **environment: str,
) -> Answer:
    """Do the same in a process that has imported torch and MLflow already: seconds faster.

    ``interrupt`` is a signal, and what must be true before it is sent.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    outputs = [folder / f".{name}-{stream}" for stream in ("out", "err")]
    job = (_MODULES[name], arguments, folder, os.environ | environment, outputs)
    process = context.Process(target=_inside, args=job)
    process.start()
    deadline = time.monotonic() + HANG_TIMEOUT
    while interrupt is not None and process.is_alive() and time.monotonic() < deadline:
        if interrupt[1]():
            os.kill(process.pid, interrupt[0])
            break
        time.sleep(0.02)
    process.join(120)
    assert process.exitcode is not None, f"harnest-{name} {arguments} does not end"
    texts = [output.read_text() for output in outputs]
    for output in outputs:
        output.unlink()
    return Answer(process.exitcode, *texts)


def _inside(module, arguments, folder, environment, outputs):
    gc.freeze()  # to look for garbage among what was imported takes a test of a run two seconds
    # A sweep in the test process may have made the server, for jobs that set a handler themselves.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, output in enumerate(outputs, start=1):
        os.dup2(os.open(output, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = [f"harnest-{module.rpartition('.')[2]}", *arguments]
    importlib.import_module(module).main()


def score_in(answer):
    """The score that a command showed."""
    assert answer.code == 0, answer
    return float(re.search(r"^val/\w+ = ([\d.]+), in /", answer.err, re.MULTILINE)[1])


def epochs_of(directory):
    """What the CSV logger wrote, merged by epoch."""
    merged = {}
    with (directory / "csv" / "metrics.csv").open() as file:
        for row in csv.DictReader(file):
            filled = {key: float(value) for key, value in row.items() if value and key != "step"}
            merged.setdefault(int(filled.pop("epoch")), {}).update(filled)
    return [merged[epoch] for epoch in sorted(merged)]
