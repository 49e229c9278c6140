"""Draws the figures of a study's trials, in a process of its own.

Drawing takes longer than all else that a trial does after its training, and no slot is to wait for
it: a trial keeps what there is to draw, and its study has that drawn behind it.
"""

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from harnest.core.command_line import program
from harnest.core.trust import import_trusted
from harnest.tracking.outbox.operations import files
from harnest.tracking.outbox.runlog import RECORD, RunLog, recorded_below

log = logging.getLogger(__name__)

_FILE = "to_draw.npz"
_KEPT = f"{RECORD}/{_FILE}"
_NICE = 10  # how far behind the trials it stands, where they want the same cores


def save_pending(
    directory: Path,
    renderer: str,
    folder: str,
    arrays: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> None:
    """Save in a run's directory what its figures show, to be drawn by another process.

    Args:
        directory: The run's directory.
        renderer: Dotted name of the function that draws. It is called with ``arrays``, ``facts``
            and the folder to write to, and returns the files it has written.
        folder: Where the files go among the run's artifacts, ``figures/validation`` for example.
        arrays: Arrays of numpy, by name.
        facts: More of it, as JSON can hold it.
    """
    file = directory / _KEPT
    new = file.with_suffix(".new.npz")
    np.savez(new, pending=json.dumps([renderer, folder, facts]), **arrays)
    new.replace(file)


def draw_pending(directory: Path) -> None:
    """Draw what a run has saved, and add the files to its run log; nothing is pending then.

    Raises FileNotFoundError where nothing is: another process may have drawn it. Raises
    `ConfigError` where the renderer is not trusted.
    """
    with np.load(directory / _KEPT) as saved:
        arrays = dict(saved)
    renderer, folder, facts = json.loads(str(arrays.pop("pending")))
    made = import_trusted(renderer)(arrays, facts, directory / RECORD / "artifacts" / folder)
    RunLog(directory).add(files([file.relative_to(directory) for file in made], folder))
    (directory / _KEPT).unlink(missing_ok=True)


def pending_below(directory: Path) -> list[Path]:
    """The directories below ``directory`` of which a sweeper that died had nothing drawn."""
    return recorded_below(directory, _FILE)


class FigureWorker:
    """Has what runs have kept drawn, one after the other, and tells ``drawn`` of each journal."""

    def __init__(self, drawn: Callable[[RunLog], None]) -> None:
        self._drawn = drawn
        self._process: subprocess.Popen[str] | None = None
        self._listener = threading.Thread(target=self._listen, name="figures", daemon=True)

    def draw(self, directory: Path) -> None:
        """Have drawn what the run in ``directory`` has kept, if anything; returns at once."""
        if not (directory / _KEPT).is_file():
            return
        if self._process is None:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # matplotlib talks where the study's table stands
                text=True,
                start_new_session=True,  # a study that is interrupted waits for what it has begun
            )
            self._listener.start()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # told in the end
            print(json.dumps(str(directory)), file=self._process.stdin, flush=True)

    def finish(self) -> None:
        """Wait until all has been drawn; what has not is told in the log."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._listener.join()
        if self._process.wait() != 0:
            command = program("harnest-sync")
            log.warning("the process that draws figures died; %s draws what is missing", command)

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            directory, error = json.loads(line)
            if error is not None:
                log.warning("not all of %s's figures could be made: %s", directory, error)
            self._drawn(RunLog(Path(directory)))


def main() -> None:
    """Draw for each directory that a line of the input names, until there are no more."""
    os.nice(_NICE)
    for line in sys.stdin:
        directory, error = json.loads(line), None
        try:
            draw_pending(Path(directory))
        except FileNotFoundError:
            pass
        except Exception as reason:  # the next one's figures may well be made
            error = f"{type(reason).__name__}: {reason}"
        print(json.dumps([directory, error]), flush=True)


if __name__ == "__main__":
    main()
