"""A classifier whose epochs are computed by its pack."""

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

    For Lightning an epoch is a single batch, whose training step waits for the pack to train the
    whole epoch. Each classifier has its own callbacks, metrics and checkpoints.

    Args:
        network: The network, as in `Classifier`.
        synchronize: Called with this classifier in each epoch; returns after
            `harnest.har.packed.pack.train_epoch` has been called with all classifiers that have
            reached this barrier.
        tensors: Returns signals (n, time, channels) and labels (n,) of ``train`` or ``validation``.
        order: Returns the order of the training windows in an epoch, (n,).
        batch_size: Windows per batch.
        limit_train: Lightning's limit on the training batches per epoch.
        limit_val: Lightning's limit on the validation batches.
        options: Other arguments of `Classifier`.
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
        #: CPU threads for tensor operations, which torch sets per Python thread.
        self.threads = torch.get_num_threads()

    def batches(self, part: str) -> int:
        """Return the number of batches in an epoch of ``train`` or ``validation``."""
        whole = -(-len(self.labels[part]) // self.batch_size)
        limit = self.limits[part]
        return min(whole, limit) if isinstance(limit, int) else int(whole * limit)

    def windows(self, part: str) -> int:
        """Return the number of windows in an epoch of ``train`` or ``validation``."""
        return min(len(self.labels[part]), self.batches(part) * self.batch_size)

    def train_dataloader(self) -> "_Once":
        """Return a loader of one batch: an epoch's labels, for callbacks that count windows."""
        return _Once(self.labels["train"][: self.windows("train")])

    def val_dataloader(self) -> "_Once | list[Any]":
        """Return a loader of one batch, or an empty list without validation."""
        count = self.windows("validation")
        return _Once(self.labels["validation"][:count]) if count else []

    def on_fit_start(self) -> None:
        """Raise `ConfigError` for options that a pack does not support, and for empty epochs."""
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
                raise ConfigError(f"trainer.{key}={limit} leaves no batch in an epoch: increase it")

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Wait for the pack to train the whole epoch."""
        self.synchronize(self)
        return torch.zeros(())

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the pack has updated the weights. Lightning's step then has no gradients."""

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the validation windows, predicted by the pack, to the metrics."""
        assert self.pack is not None
        self.pack.count_validation(self)

    def _total_steps(self) -> int:
        epochs = self.trainer.max_epochs if self._trainer is not None else None
        return super()._total_steps() if epochs is None else self.batches("train") * epochs

    def _steps_in_an_epoch(self) -> int:
        return self.batches("train")


def unsupported(trainer: L.Trainer, *, is_augmented: bool, copies: int) -> list[str]:
    """Return the options in use that a pack does not support.

    Args:
        trainer: The trainer.
        is_augmented: Whether training windows are augmented.
        copies: Augmented copies per validation window.
    """
    callbacks = (WeightAveraging, StochasticWeightAveraging)
    interval = getattr(trainer, "val_check_interval", None)  # absent for time intervals
    asked = {
        "augmentation": is_augmented,
        "tta.copies": copies > 0,
        "trainer.devices above 1": trainer.world_size > 1,
        f"trainer.precision={trainer.precision}": trainer.precision not in _PRECISIONS,
        "trainer.accumulate_grad_batches": trainer.accumulate_grad_batches != 1,
        "trainer.gradient_clip_algorithm=value": trainer.gradient_clip_algorithm == "value",
        "trainer.overfit_batches": trainer.overfit_batches > 0,  # type: ignore[attr-defined]
        # For Lightning each epoch of a member is one step.
        "trainer.max_steps": trainer.max_steps != -1 and not trainer.fast_dev_run,  # type: ignore[attr-defined]
        "trainer.min_steps": trainer.min_steps is not None,
        "trainer.val_check_interval": interval != 1.0 or isinstance(interval, int),  # 1: a batch
        "trainer.num_sanity_val_steps": trainer.num_sanity_val_steps != 0,
        "averaging weights": any(isinstance(one, callbacks) for one in trainer.callbacks),  # type: ignore[attr-defined]
    }
    return [name for name, is_asked in asked.items() if is_asked]


def has_batch_hooks(callback: Callback) -> bool:
    """Return whether a user-defined callback has batch hooks, which a member does not call."""
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
