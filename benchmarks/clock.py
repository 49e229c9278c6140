"""A callback that notes when a trial's epochs begin."""

import json
import statistics
import time
from itertools import pairwise
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytorch_lightning as L
import torch

PATIENCE = 300  # seconds that one process waits for the others
LEFT_OUT = 2  # epochs in which caches and kernels warm up


class Clock(L.Callback):
    """Notes when epochs begin, and when training ends; a ``file`` gets the median epoch."""

    def __init__(self, together: Barrier | None = None, file: str | None = None) -> None:
        self.together = together
        self.file = file
        self.marks: list[float] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Wait for the other processes."""
        if self.together is not None:
            self.together.wait(PATIENCE)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to count; what the device still has to do belongs to the epoch before."""
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize()
        self.marks.append(time.perf_counter())

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop."""
        self.on_train_epoch_start(trainer, pl_module)
        if self.file is not None:
            Path(self.file).write_text(json.dumps(self.epoch))

    @property
    def epoch(self) -> float:
        """Median seconds of an epoch."""
        return statistics.median(b - a for a, b in list(pairwise(self.marks))[LEFT_OUT:])
