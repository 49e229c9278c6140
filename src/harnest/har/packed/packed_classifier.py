"""A classifier whose epochs are computed by a pack."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytorch_lightning as L
import torch
from pytorch_lightning.callbacks import Callback, StochasticWeightAveraging, WeightAveraging
from torch import Tensor, nn

from harnest.core.errors import ConfigError
from harnest.har.classifier import Batch, Classifier

if TYPE_CHECKING:
    from harnest.har.packed.pack import Pack


_PRECISIONS = ("32-true", "bf16-mixed")  # see `harnest.har.packed.pack`

#: Hooks that Lightning calls for each batch.
_BY_BATCH = (
    *("on_train_batch_start", "on_train_batch_end"),
    *("on_validation_batch_start", "on_validation_batch_end"),
    *("on_before_backward", "on_after_backward"),
    *("on_before_optimizer_step", "on_before_zero_grad"),
)


class PackedClassifier(Classifier):
    """One of several classifiers of one architecture that are trained as one program.

    Lightning sees epochs of a single batch. In place of training on it, ``synchronize`` is called
    with this classifier: it returns once `harnest.har.packed.pack.train_epoch` has been called with
    all classifiers that have reached it. Callbacks, metrics and checkpoints stay each one's own.

    ``tensors`` gives signals (n, time, channels) and labels (n,) of ``train`` and ``validation``,
    ``order`` the training windows' order in an epoch. ``limit_train`` and ``limit_val`` are
    Lightning's limits to the batches of ``batch_size`` windows in an epoch.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        synchronize: Callable[["PackedClassifier"], None],
        tensors: Callable[[str], tuple[Tensor, Tensor]],
        order: Callable[[int], Tensor],
        batch_size: int,
        limit_train: float = 1.0,
        limit_val: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(network, **options)
        self.synchronize = synchronize
        self.tensors = tensors
        self.labels = {part: tensors(part)[1] for part in ("train", "validation")}
        self.order = order
        self.batch_size = batch_size
        self.limits = {"train": limit_train, "validation": limit_val}
        self.pack: Pack | None = None
        #: CPU threads for tensor operations: torch counts them for each of Python's threads.
        self.threads = torch.get_num_threads()

    def batches(self, part: str) -> int:
        """Batches in an epoch of ``train`` or ``validation``."""
        whole = -(-len(self.labels[part]) // self.batch_size)
        limit = self.limits[part]
        return min(whole, limit) if isinstance(limit, int) else int(whole * limit)

    def windows(self, part: str) -> int:
        """Windows in an epoch of ``train`` or ``validation``."""
        return min(len(self.labels[part]), self.batches(part) * self.batch_size)

    def train_dataloader(self) -> "_Once":
        """One batch: all labels of an epoch, for those who count windows."""
        return _Once(self.labels["train"][: self.windows("train")])

    def val_dataloader(self) -> "_Once | list[Any]":
        """One batch, or none without validation windows."""
        count = self.windows("validation")
        return _Once(self.labels["validation"][:count]) if count else []

    def on_fit_start(self) -> None:
        """Raise `ConfigError` for what a pack cannot do, and for epochs without a batch."""
        refused = unsupported(
            self.trainer,
            is_augmented=bool(self.augment.signal or self.augment.mixups),
            copies=self.copies,
        )
        if refused:
            raise ConfigError(f"{refused[0]} cannot be packed; choose hydra/launcher=slots")
        for part, key in (("train", "limit_train_batches"), ("validation", "limit_val_batches")):
            limit = self.limits[part]
            if limit > 0 and self.batches(part) == 0 < len(self.labels[part]):
                raise ConfigError(f"trainer.{key}={limit} leaves no batch of an epoch: give more")

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Have the whole epoch computed, together with the others'."""
        self.synchronize(self)
        return torch.zeros(())

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """All has been done; the step that Lightning makes hereafter finds no gradient."""

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count the validation windows, judged by the pack."""
        assert self.pack is not None
        self.pack.count_validation(self)

    def _total_steps(self) -> int:
        epochs = self.trainer.max_epochs if self._trainer is not None else None
        return super()._total_steps() if epochs is None else self.batches("train") * epochs

    def _steps_in_an_epoch(self) -> int:
        return self.batches("train")


def unsupported(trainer: L.Trainer, *, is_augmented: bool, copies: int) -> list[str]:
    """The settings of ``trainer`` and its classifier that a pack does not support."""
    callbacks = (WeightAveraging, StochasticWeightAveraging)
    interval = getattr(trainer, "val_check_interval", None)  # absent with a time interval
    asked = {
        "augmentation": is_augmented,
        "tta.copies": copies > 0,
        "trainer.devices above 1": trainer.world_size > 1,
        f"trainer.precision={trainer.precision}": trainer.precision not in _PRECISIONS,
        "trainer.accumulate_grad_batches": trainer.accumulate_grad_batches != 1,
        "trainer.gradient_clip_algorithm=value": trainer.gradient_clip_algorithm == "value",
        "trainer.overfit_batches": trainer.overfit_batches > 0,  # type: ignore[attr-defined]
        # A member's steps are epochs to Lightning.
        "trainer.max_steps": trainer.max_steps != -1 and not trainer.fast_dev_run,  # type: ignore[attr-defined]
        "trainer.min_steps": trainer.min_steps is not None,
        "trainer.val_check_interval": interval != 1.0 or isinstance(interval, int),  # 1: a batch
        "trainer.num_sanity_val_steps": trainer.num_sanity_val_steps != 0,
        "averaging weights": any(isinstance(one, callbacks) for one in trainer.callbacks),  # type: ignore[attr-defined]
    }
    return [name for name, is_asked in asked.items() if is_asked]


def has_batch_hooks(callback: Callback) -> bool:
    """Whether a user's callback has hooks for batches, which a pack does not call."""
    if type(callback).__module__.partition(".")[0] in ("harnest", "pytorch_lightning"):
        return False
    return any(getattr(type(callback), hook) is not getattr(Callback, hook) for hook in _BY_BATCH)


class _Once:
    """A loader of one batch, as large as an epoch."""

    def __init__(self, labels: Tensor) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[tuple[None, Tensor]]:
        yield None, self.labels
