"""When a run's training began and ended, as a Lightning callback of the run itself notes it.

A run gets it by the override `NOTED` and the environment variables `TRUSTED`.
"""

import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as L

NOTED = "+callbacks.moments._target_=moments.Moments"
TRUSTED = {"HARNEST_TRUST": "moments", "PYTHONPATH": str(Path(__file__).parent)}

#: Files of the run's directory, each with a time in it: seconds since the epoch of Unix.
FIRST, LAST = "first_batch", "last_batch"


class Moments(L.Callback):
    """Writes when the first training batch began, once it begins, and when the last batch ended.

    The last batch is the last one of the last validation.
    """

    def __init__(self) -> None:
        self.last: float | None = None

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Note the first one."""
        if self.last is None:
            self.last = note(trainer, FIRST)

    def on_validation_batch_end(self, *_: Any) -> None:
        """Keep the time."""
        self.last = time.time()

    def on_fit_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Note the last one."""
        note(trainer, LAST, self.last)


def note(trainer: L.Trainer, name: str, moment: float | None = None) -> float:
    """Write a moment, or this one, to the run's directory."""
    moment = time.time() if moment is None else moment
    new = Path(trainer.default_root_dir, f"{name}.{os.getpid()}")
    new.write_text(repr(moment))
    new.rename(new.with_name(name))  # whoever finds it finds it whole
    return moment


def noted(directory: Path, name: str) -> float:
    """A moment that was noted in a run's directory."""
    return float((directory / name).read_text())
