"""The Lightning data module: batches of prepared windows on the training device."""

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

_SHARE = 0.5  # of a device's free memory; network and activations need the rest
_WORKERS = 2  # processes that gather batches; they only copy


class EpochBatchSampler(SequentialSampler):
    """Batch sampler that yields the indices of the windows of each batch, (batch,) int64.

    The last, smaller batch is never dropped. It derives from SequentialSampler because Lightning
    replaces any other sampler by one of single windows when ``overfit_batches`` is set.

    Args:
        count: The number of windows.
        batch_size: Windows per batch.
        key: Returns the seed of the next pass's permutation, which depends only on that seed, so
            that a resumed run trains on the same batches as an uninterrupted one. None keeps the
            order of the windows.
        rank: Index of this device.
        world: The number of devices. Each takes every ``world``-th window of the same permutation;
            the first windows are repeated so that all devices make equally many steps.
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
        """Return the number of batches in one pass."""
        share = -(-self.count // self.world)
        return -(-share // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:  # type: ignore[override]  # batches, not windows
        return iter(torch.split(self.indices(), self.batch_size))

    def indices(self) -> Tensor:
        """Return the indices of a whole pass, (n,) int64."""
        indices = torch.arange(self.count) if self.key is None else shuffled(self.count, self.key())
        if self.world > 1:
            padded = self.count + -self.count % self.world
            indices = indices[torch.arange(padded) % self.count][self.rank :: self.world]
        return indices


def shuffled(count: int, seed: int) -> Tensor:
    """Return a permutation of ``count``, made on the CPU so that it is the same on all devices."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


class DeviceLoader:
    """Loader of all windows of one part; batches are gathered on the device of the windows.

    Yields ``(signals, labels)``: (batch, time, channels) float32 and (batch,) int64.
    """

    def __init__(self, signals: Tensor, labels: Tensor, order: EpochBatchSampler) -> None:
        self.signals = signals
        self.labels = labels
        self.order = order

    def __len__(self) -> int:
        """Return the number of batches in one pass."""
        return len(self.order)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # Indices of the whole pass at once, so that no step copies anything to the device.
        indices = self.order.indices().to(self.labels.device)
        for chosen in torch.split(indices, self.order.batch_size):
            yield self.signals[chosen], self.labels[chosen]


Loader = DeviceLoader | DataLoader[tuple[Tensor, ...]]


class WindowModule(L.LightningDataModule):
    """Lightning data module of the windows of one split.

    The windows are copied to the training device once, and batches are gathered there, without
    collation, worker processes or a copy per step. Windows that take more than half of a GPU's
    free memory stay in main memory, where worker processes gather the same batches.

    Args:
        windows: All windows of the data set.
        split: The split by subject.
        batch_size: Windows per batch.
        seed: Seed of the order of the training windows.
    """

    def __init__(self, windows: Windows, split: Split, *, batch_size: int, seed: int) -> None:
        super().__init__()
        self.windows = windows
        self.split = split
        self.batch_size = batch_size
        self.seed = seed
        self.parts: dict[str, tuple[Tensor, Tensor]] = {}

    def tensors(self, part: str) -> tuple[Tensor, Tensor]:
        """Return signals (n, time, channels) and labels (n,) of train, validation or test."""
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
            generator=torch.Generator(),  # else workers' seeds would advance torch's generator
        )

    def _placed(self, part: str, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the windows of ``part``, on ``device`` if they fit there."""
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
        """Return whether the training and validation windows fit on ``device`` when it is empty.

        Current memory use is ignored, since the way a run is trained must not depend on it.
        """
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
        """Return batches of the training subjects, in a new order each epoch.

        With ``overfit_batches`` the order is fixed, so that each epoch has the same batches.
        """
        trainer = self.trainer
        assert trainer is not None
        if trainer.overfit_batches > 0:  # type: ignore[attr-defined]  # set by its constructor
            return self._batches("train")
        # Not trainer.current_epoch: in a resumed run it is still the checkpoint's last epoch when a
        # DataLoader starts its first pass.
        progress: Any = trainer.fit_loop.epoch_progress  # its type lacks the counters
        return self._batches("train", lambda: self._order_seed(progress.current.processed))

    def order(self, epoch: int) -> Tensor:
        """Return the order of the training windows in an epoch, (n,)."""
        return shuffled(len(self.split.train), self._order_seed(epoch))

    def _order_seed(self, epoch: int) -> int:
        return self.seed * 1_000_003 + epoch

    def val_dataloader(self) -> Loader | list[Loader]:
        """Return batches of the validation subjects, or an empty list if there are none."""
        return self._batches("validation") if self.split.validation_subjects else []

    def test_dataloader(self) -> Loader | list[Loader]:
        """Return batches of the test subjects, or an empty list if there are none."""
        return self._batches("test") if self.split.test_subjects else []
