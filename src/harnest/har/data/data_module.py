"""Data module: prepared windows to batches on the training device."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytorch_lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, SequentialSampler, TensorDataset

from harnest.har.data.prepare import Windows
from harnest.har.data.splits import Split

log = logging.getLogger(__name__)

_SHARE = 0.5  # of a device's free memory: the network and what it computes need the rest
_WORKERS = 2  # processes that gather batches: they copy, and compute nothing


class EpochBatchSampler(SequentialSampler):
    """Yields the indices of each batch of a pass, (batch,) int64.

    The last, smaller batch is not dropped. It derives from SequentialSampler because Lightning
    replaces any other sampler if it overfits on few batches.

    Args:
        count: Number of windows.
        batch_size: Windows of a batch.
        key: Returns the number of the pass, which determines its permutation, so that a resumed run
            sees the same batches; None: in order.
        rank: Index of this device.
        world: Number of devices. Each takes every ``world``-th window; the first ones are repeated
            so that all take equally many steps.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        key: Callable[[], int] | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.count = count
        self.batch_size = batch_size
        self.key = key
        self.rank = rank
        self.world = world

    def __len__(self) -> int:
        """Batches in one pass."""
        share = -(-self.count // self.world)
        return -(-share // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:  # type: ignore[override]  # batches, not windows
        return iter(torch.split(self.indices(), self.batch_size))

    def indices(self) -> Tensor:
        """All of a pass in a row, (n,) int64."""
        indices = torch.arange(self.count) if self.key is None else shuffled(self.count, self.key())
        if self.world > 1:
            padded = self.count + -self.count % self.world
            indices = indices[torch.arange(padded) % self.count][self.rank :: self.world]
        return indices


def shuffled(count: int, seed: int) -> Tensor:
    """A permutation of ``count``; made on the CPU, the same one whichever device trains."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


class DeviceLoader:
    """All windows of one part, batch by batch, gathered where they live.

    Yields ``(signals, labels)``: (batch, time, channels) float32 and (batch,) int64.
    """

    def __init__(self, signals: Tensor, labels: Tensor, order: EpochBatchSampler) -> None:
        self.signals = signals
        self.labels = labels
        self.order = order

    def __len__(self) -> int:
        """Batches in one pass."""
        return len(self.order)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # All of a pass at once: nothing is copied to the device at a step.
        indices = self.order.indices().to(self.labels.device)
        for chosen in torch.split(indices, self.order.batch_size):
            yield self.signals[chosen], self.labels[chosen]


Loader = DeviceLoader | DataLoader[tuple[Tensor, ...]]


class WindowModule(L.LightningDataModule):
    """The data module of one split of windows.

    Windows are moved to the training device once and batches are gathered there, without worker
    processes, collation or a copy per step. If they need more than half of a GPU's free memory,
    they stay in main memory, and worker processes gather the same batches.
    """

    def __init__(self, windows: Windows, split: Split, *, batch_size: int, seed: int) -> None:
        super().__init__()
        self.windows = windows
        self.split = split
        self.batch_size = batch_size
        self.seed = seed
        self.parts: dict[str, tuple[Tensor, Tensor]] = {}

    def tensors(self, part: str) -> tuple[Tensor, Tensor]:
        """Signals (n, time, channels) and labels (n,) of ``train``, ``validation`` or ``test``."""
        chosen = getattr(self.split, part)
        return (
            torch.from_numpy(self.windows.signals[chosen]),
            torch.from_numpy(self.windows.labels[chosen]),
        )

    def _batches(self, part: str, key: Callable[[], int] | None = None) -> Loader:
        trainer = self.trainer
        assert trainer is not None
        if part not in self.parts:
            self.parts[part] = self._placed(part, trainer.strategy.root_device)
        signals, labels = self.parts[part]
        world = {"rank": trainer.global_rank, "world": trainer.world_size}
        order = EpochBatchSampler(len(labels), self.batch_size, key=key, **world)
        if signals.device == trainer.strategy.root_device:
            return DeviceLoader(signals, labels, order)
        return DataLoader(
            TensorDataset(signals, labels),
            sampler=order,
            batch_size=None,
            num_workers=_WORKERS,
            pin_memory=True,
            persistent_workers=True,
            generator=torch.Generator(),  # it would draw its workers' seed from the run's numbers
        )

    def _placed(self, part: str, device: torch.device) -> tuple[Tensor, Tensor]:
        """The windows of ``part`` on ``device``, or where they are if they are too many for it."""
        signals, labels = self.tensors(part)
        if not self._has_room(part, device):
            log.info(
                "the %s windows stay in main memory: they take %.1f GiB, more than half of what "
                "%s has free",
                *(part, signals.nbytes / 2**30, device),
            )
            return signals, labels
        return signals.to(device), labels.to(device)

    def fits(self, device: torch.device) -> bool:
        """Whether the windows would fit on an empty ``device``; its other users must not matter."""
        if device.type != "cuda":
            return True
        _, whole = torch.cuda.mem_get_info(device)
        return all(self._size(part) <= _SHARE * whole for part in ("train", "validation"))

    def _has_room(self, part: str, device: torch.device) -> bool:
        if device.type != "cuda":
            return True
        free, _ = torch.cuda.mem_get_info(device)
        return self._size(part) <= _SHARE * free

    def _size(self, part: str) -> int:
        size: int = self.windows.signals[:1].nbytes * len(getattr(self.split, part))
        return size

    def train_dataloader(self) -> Loader:
        """Batches of the training subjects, in a new order each epoch.

        To overfit a few batches means to synchronize the same ones each time.
        """
        trainer = self.trainer
        assert trainer is not None
        if trainer.overfit_batches > 0:  # type: ignore[attr-defined]  # set by its constructor
            return self._batches("train")
        # Not trainer.current_epoch: after a resume it still is the checkpoint's while a DataLoader
        # starts its first pass.
        progress: Any = trainer.fit_loop.epoch_progress  # typed without what it counts
        return self._batches("train", lambda: self._order_seed(progress.current.processed))

    def order(self, epoch: int) -> Tensor:
        """The order of the training windows in an epoch, (n,)."""
        return shuffled(len(self.split.train), self._order_seed(epoch))

    def _order_seed(self, epoch: int) -> int:
        return self.seed * 1_000_003 + epoch

    def val_dataloader(self) -> Loader | list[Loader]:
        """Batches of the validation subjects, if there are any."""
        return self._batches("validation") if self.split.validation_subjects else []

    def test_dataloader(self) -> Loader | list[Loader]:
        """Batches of the test subjects, if there are any."""
        return self._batches("test") if self.split.test_subjects else []
