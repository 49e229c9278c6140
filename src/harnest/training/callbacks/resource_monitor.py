"""Logs time, throughput, CPU, memory and GPU use per epoch."""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psutil
import pytorch_lightning as L
import torch

_MB = 1e6


class ResourceMonitor(L.Callback):
    """Logs time, throughput, CPU, memory and GPU use of this process for each epoch.

    Names are those of MLflow's system metrics, so that its UI shows them as such. MLflow's own
    monitor would measure the whole machine, and block while the store does not answer. CPU use is
    100 % per busy core. GPU use is the driver's value at the end of the epoch, GPU memory this
    process's maximum.
    """

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.windows = 0
        self.began = 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to count."""
        self.windows = 0
        self.began = time.perf_counter()
        self.process.cpu_percent()  # from here on
        device = trainer.strategy.root_device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Count the windows of a batch."""
        self.windows += len(batch[1])

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the epoch; its time includes validation."""
        seconds = time.perf_counter() - self.began
        values = {
            "epoch_seconds": seconds,
            "windows_per_second": trainer.world_size * self.windows / seconds,
            "system/cpu_utilization_percentage": self.process.cpu_percent(),
            "system/process_memory_usage_megabytes": self.process.memory_info().rss / _MB,
            **_gpu(trainer.strategy.root_device),
        }
        pl_module.log_dict(values, rank_zero_only=True)


def _gpu(device: torch.device) -> Mapping[str, float]:
    if device.type != "cuda":
        return {}
    used = {"system/gpu_memory_usage_megabytes": torch.cuda.max_memory_reserved(device) / _MB}
    with suppress(Exception):  # the driver may not report it, for example in a container
        # torch maps the index through CUDA_VISIBLE_DEVICES.
        used["system/gpu_utilization_percentage"] = float(torch.cuda.utilization(device))
    return used
