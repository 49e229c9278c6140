"""Renders the figures of trials in a separate process.

Rendering takes longer than everything else that follows a trial's training, and a slot must not
wait for it. A trial saves the figures' data, and the study renders them in the background.
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

from harnest.core.command_line import command_for
from harnest.core.trust import import_trusted
from harnest.tracking.outbox.operations import files
from harnest.tracking.outbox.runlog import RECORD, RunLog, recorded_below

log = logging.getLogger(__name__)

_FILE = "to_draw.npz"
_KEPT = f"{RECORD}/{_FILE}"
_NICE = 10  # niceness of the process: trials on the same cores take precedence


def save_pending(
    directory: Path,
    renderer: str,
    folder: str,
    arrays: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> None:
    """Save the data of a run's figures, for rendering by another process.

    Args:
        directory: The run's directory.
        renderer: Dotted name of the function that draws the figures. It is called with
            ``arrays``, ``facts`` and an output folder, and returns the files it has written.
        folder: Folder of the figures among the run's artifacts, for example
            ``figures/validation``.
        arrays: NumPy arrays by name.
        facts: Further JSON-serializable data.
    """
    file = directory / _KEPT
    new = file.with_suffix(".new.npz")
    np.savez(new, pending=json.dumps([renderer, folder, facts]), **arrays)
    new.replace(file)


def draw_pending(directory: Path) -> None:
    """Render a run's pending figures and add the files to its run log.

    Args:
        directory: The run's directory. Nothing is pending in it afterwards.

    Raises:
        FileNotFoundError: Nothing is pending: another process may have rendered it.
        ConfigError: The renderer is not trusted.
    """
    with np.load(directory / _KEPT) as saved:
        arrays = dict(saved)
    renderer, folder, facts = json.loads(str(arrays.pop("pending")))
    made = import_trusted(renderer)(arrays, facts, directory / RECORD / "artifacts" / folder)
    RunLog(directory).add(files([file.relative_to(directory) for file in made], folder))
    (directory / _KEPT).unlink(missing_ok=True)


def pending_below(directory: Path) -> list[Path]:
    """Return the run directories below ``directory`` whose figures a dead sweeper left pending."""
    return recorded_below(directory, _FILE)


class FigureWorker:
    """Renders pending figures one run at a time, and calls ``drawn`` with each finished run log."""

    def __init__(self, drawn: Callable[[RunLog], None]) -> None:
        self._drawn = drawn
        self._process: subprocess.Popen[str] | None = None
        self._listener = threading.Thread(target=self._listen, name="figures", daemon=True)

    def draw(self, directory: Path) -> None:
        """Queue the pending figures of the run in ``directory``, if any; returns immediately."""
        if not (directory / _KEPT).is_file():
            return
        if self._process is None:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # matplotlib would write into the study's live table
                text=True,
                start_new_session=True,  # Ctrl-C must not kill it: figures in progress are finished
            )
            self._listener.start()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # `finish` logs it
            print(json.dumps(str(directory)), file=self._process.stdin, flush=True)

    def finish(self) -> None:
        """Wait until all queued figures are rendered; logs a warning if the process died."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._listener.join()
        if self._process.wait() != 0:
            command = command_for("harnest-sync")
            log.warning("the figure process died; run %s to draw the missing figures", command)

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            directory, error = json.loads(line)
            if error is not None:
                log.warning("some figures of %s could not be drawn: %s", directory, error)
            self._drawn(RunLog(Path(directory)))


def main() -> None:
    """Render the pending figures of each directory read from stdin, one JSON string per line."""
    os.nice(_NICE)
    for line in sys.stdin:
        directory, error = json.loads(line), None
        try:
            draw_pending(Path(directory))
        except FileNotFoundError:
            pass
        except Exception as reason:  # one run's error must not stop the others
            error = f"{type(reason).__name__}: {reason}"
        print(json.dumps([directory, error]), flush=True)


if __name__ == "__main__":
    main()
