"""Prepared windows -> batches on the training device."""

from collections.abc import Callable, Iterator

import pytorch_lightning as L
import torch
from torch import Tensor

from harnest.data.prepare import Windows
from harnest.data.splits import Split


class Batches:
    """All windows of one part, batch by batch, gathered where they live.

    Yields ``(signals, labels)``: (batch, time, channels) float32 and (batch,) int64. With
    ``order``, each pass is a new permutation that depends on the seed and the epoch alone, so
    that a run that goes on from a checkpoint meets the same batches as one never stopped.
    Of several devices (``rank`` of ``world``) each takes every ``world``-th window of the same
    permutation; the first ones are repeated so that all take equally many steps. The last,
    smaller batch is never dropped.
    """

    def __init__(
        self,
        signals: Tensor,
        labels: Tensor,
        batch_size: int,
        *,
        order: Callable[[], int] | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.signals = signals
        self.labels = labels
        self.batch_size = batch_size
        self.order = order
        self.rank = rank
        self.world = world

    def __len__(self) -> int:
        """Batches in one pass."""
        share = -(-len(self.labels) // self.world)
        return -(-share // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        indices = self._indices().to(self.labels.device)
        for chosen in torch.split(indices, self.batch_size):
            yield self.signals[chosen], self.labels[chosen]

    def _indices(self) -> Tensor:
        count = len(self.labels)
        indices = torch.arange(count) if self.order is None else shuffled(count, self.order())
        if self.world > 1:
            padded = count + -count % self.world
            indices = indices[torch.arange(padded) % count][self.rank :: self.world]
        return indices


def shuffled(count: int, seed: int) -> Tensor:
    """A permutation of ``count``; made on the CPU, the same one whichever device trains."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


class WindowModule(L.LightningDataModule):
    """The windows of one split, as Lightning wants them.

    The training windows are put on the training device once, and batches are gathered there:
    no collation window by window, no worker processes, no copy a step.
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

    def _batches(self, part: str, order: Callable[[], int] | None = None) -> Batches:
        trainer = self.trainer
        assert trainer is not None
        if part not in self.parts:
            device = trainer.strategy.root_device
            signals, labels = self.tensors(part)
            self.parts[part] = signals.to(device), labels.to(device)
        return Batches(
            *self.parts[part],
            self.batch_size,
            order=order,
            rank=trainer.global_rank,
            world=trainer.world_size,
        )

    def train_dataloader(self) -> Batches:
        """Batches of the training subjects, in a new order each epoch.

        To overfit a few batches means to meet the same ones each time.
        """
        trainer = self.trainer
        assert trainer is not None
        if trainer.overfit_batches > 0:  # type: ignore[attr-defined]  # set by its constructor
            return self._batches("train")
        return self._batches("train", lambda: self._order_seed(trainer.current_epoch))

    def order(self, epoch: int) -> Tensor:
        """The order of the training windows in an epoch, (n,)."""
        return shuffled(len(self.split.train), self._order_seed(epoch))

    def _order_seed(self, epoch: int) -> int:
        return self.seed * 1_000_003 + epoch

    def val_dataloader(self) -> Batches | list[Batches]:
        """Batches of the validation subjects; none where there are none."""
        return self._batches("validation") if self.split.validation_subjects else []

    def test_dataloader(self) -> Batches:
        """Batches of the test subjects."""
        return self._batches("test")
