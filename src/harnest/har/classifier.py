"""The classifier: normalization, network, loss, metrics and optimizer."""

import inspect
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any, cast

import pytorch_lightning as L
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from harnest.core.errors import ConfigError
from harnest.har.augmentation.augment import Augment
from harnest.har.augmentation.base import Augmentation, Layout, Triad
from harnest.har.augmentation.mixup import Mixup
from harnest.training.fit import METRICS
from harnest.training.resume import Scheduler, advance, restore_options

Batch = tuple[Tensor, Tensor]
MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
MakeScheduler = Callable[..., Scheduler]

_BLOCK = 8192  # steps per block of the channel statistics, so that it fits into the CPU cache

#: Checkpoint key of the name of the optimizer's class.
_OPTIMIZER = "optimizer"

_PARTS = ("train_", "val_", "test_")  # nn.Module has a method called train


class Classifier(L.LightningModule):
    """Classifies windows in raw physical units, (batch, time, channels).

    The augmentations change training windows only. Dropout and augmentations depend only on
    ``seed`` and the epoch, so a resumed run trains exactly like an uninterrupted one.

    Args:
        network: Maps normalized windows (batch, time, channels) to logits (batch, classes).
        mean: Mean of each channel over the training subjects, (channels,). A buffer, so that a
            checkpoint contains everything that inference needs; so is ``std``.
        std: Standard deviation of each channel, (channels,).
        classes: The number of classes.
        class_weights: Weight of each class in the loss, (classes,).
        label_smoothing: Label smoothing of the loss, 0 to 1.
        optimizer: Makes the optimizer of the parameters.
        scheduler: Makes the scheduler of the optimizer.
        monitor: The metric that a `ReduceLROnPlateau` scheduler monitors.
        augmentations: Applied to training windows.
        triads: The channels that are the three axes of one sensor, for the augmentations.
        copies: If above 0, validation and test windows are classified by the mean probability
            over the window and this many augmented copies of it.
        seed: Seed of all random numbers.

    Raises:
        ConfigError: ``copies`` is negative.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        mean: Tensor,
        std: Tensor,
        classes: int,
        class_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
        optimizer: MakeOptimizer | None = None,
        scheduler: MakeScheduler | None = None,
        monitor: str = "val/loss",
        augmentations: Sequence[Augmentation | Mixup] = (),
        triads: tuple[Triad, ...] = (),
        copies: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.loss = nn.CrossEntropyLoss(weight=class_weights, label_smoothing=label_smoothing)
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.monitor = monitor
        self.classes = classes
        self.augment = Augment(augmentations)
        self.triads = triads
        if copies < 0:
            raise ConfigError(f"tta.copies={copies} cannot be used: it must be at least 0")
        self.copies = copies
        self.seed = seed
        self._measured_before: dict[str, float] = {}
        self._is_validated = False  # in this epoch
        self._aside = ExitStack()  # holds training's random state while copies are made
        self.losses = nn.ModuleDict({part: MeanMetric(nan_strategy="disable") for part in _PARTS})
        self.scores = nn.ModuleDict({part: _scores(classes) for part in _PARTS})
        self._judged: dict[str, list[tuple[Tensor, ...]]] = {part: [] for part in _PARTS}

    def forward(self, x: Tensor) -> Tensor:
        """Map raw windows (batch, time, channels) to logits (batch, classes)."""
        logits: Tensor = self.network((x - self.mean) / self.std)
        return logits

    def augmented(self, batch: Batch) -> Batch:
        """Return the batch augmented for training: windows and targets, see `Augment`."""
        x, y = batch
        return self.augment.mixed(self._augment_signals(x), y, self.classes)

    @torch.no_grad()
    def examples(self, x: Tensor, y: Tensor) -> Batch:
        """Return the normalized windows and labels to initialize a network from.

        If training uses augmentations, the augmented windows are appended, without mixup.
        """
        if self.augment.signal:
            x, y = torch.cat([x, self._augment_signals(x)]), y.repeat(2)
        return (x - self.mean) / self.std, y

    def _augment_signals(self, x: Tensor) -> Tensor:
        return self.augment.windows(x, Layout(self.mean, self.std, self.triads))

    def _evaluation_logits(self, x: Tensor) -> Tensor:
        """Return the logits of validation or test windows, (batch, classes)."""
        if self.copies == 0:
            return cast(Tensor, self(x))
        each = [self(x), *(self(self._augment_signals(x)) for _ in range(self.copies))]
        # The logarithm of the mean probability, up to a constant.
        return torch.stack([logits.log_softmax(dim=1) for logits in each]).logsumexp(dim=0)

    def _step(self, logits: Tensor, targets: Tensor, part: str) -> Tensor:
        """Return the loss of a batch, and store its predictions for the epoch's metrics.

        ``targets`` are labels (batch,) or probabilities (batch, classes).
        """
        loss: Tensor = self.loss(logits, targets)
        labels = targets if targets.ndim == 1 else targets.argmax(dim=1)
        # One value per window: torchmetrics 1.9 ignores weights with nan_strategy="disable".
        losses = loss.detach().expand(len(labels))
        self._judged[f"{part}_"].append((losses, logits.argmax(dim=1), labels))
        return loss

    def count(self, part: str, losses: Tensor, predicted: Tensor, labels: Tensor) -> None:
        """Add n windows to the epoch's metrics.

        Args:
            part: ``train``, ``val`` or ``test``.
            losses: The loss of each window, (n,).
            predicted: The predicted class of each window, (n,).
            labels: The label of each window, (n,).
        """
        cast(MeanMetric, self.losses[f"{part}_"]).update(losses)
        cast(MetricCollection, self.scores[f"{part}_"]).update(predicted, labels)

    def _log_epoch(self, part: str) -> None:
        """Compute and log the epoch's metrics: once per epoch, since once per step is slower."""
        predictions = self._judged[f"{part}_"]
        if predictions:
            self.count(part, *map(torch.cat, zip(*predictions, strict=True)))
            predictions.clear()
        loss = cast(MeanMetric, self.losses[f"{part}_"])
        scores = cast(MetricCollection, self.scores[f"{part}_"])
        values = {"loss": loss.compute(), **scores.compute()}
        self.log_dict(
            {f"{part}/{name}": value for name, value in values.items()},
            prog_bar=part != "train",
            sync_dist=False,  # torchmetrics has gathered from all devices already
        )
        loss.reset()
        scores.reset()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one augmented batch."""
        x, targets = self.augmented(batch)
        return self._step(self(x), targets, "train")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count one batch of validation windows."""
        x, y = batch
        self._step(self._evaluation_logits(x), y, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Count one batch of test windows."""
        x, y = batch
        self._step(self._evaluation_logits(x), y, "test")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the last metrics and the name of the optimizer's class to the checkpoint."""
        checkpoint[METRICS] = {name: float(value) for name, value in self.metrics.items()}
        checkpoint[_OPTIMIZER] = type(self.trainer.optimizers[0]).__name__

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raise `ConfigError` if the checkpoint to resume has the state of another optimizer."""
        if self.make_optimizer is None:
            return
        self._measured_before = checkpoint.get(METRICS, {})
        now = type(self.make_optimizer(self.parameters())).__name__
        then = checkpoint.get(_OPTIMIZER, now)
        if now != then:
            raise ConfigError(f"the checkpoint to resume was trained with {then}, not with {now}")

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric, including epochs before a resume."""
        now = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        return {**self._measured_before, **now}

    def on_train_start(self) -> None:
        """On resume, replace the checkpoint's optimizer options and rates by the config's."""
        if self.trainer.ckpt_path is None:
            return
        made, follow = self._make_optimizer()
        if follow is not None:
            per_epoch = self._steps_in_an_epoch() if self._acts_on_steps() else 1
            advance(follow, self.current_epoch * per_epoch)
        schedulers = [config.scheduler for config in self.trainer.lr_scheduler_configs]
        scheduler = schedulers[0] if schedulers else None
        restore_options(self.trainer.optimizers[0], scheduler, made, follow)

    def on_train_epoch_start(self) -> None:
        """Seed the epoch, and log its learning rate before the scheduler changes it."""
        torch.manual_seed(self.epoch_seed())
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        self.log("lr", optimizer.param_groups[0]["lr"])

    def epoch_seed(self) -> int:
        """Return the seed of all random numbers in this epoch on this device."""
        return (self.seed * 1_000_003 + self.current_epoch) * 1009 + self.global_rank

    def on_validation_epoch_start(self) -> None:
        """Seed the augmented copies, so that they are the same in each validation.

        Validation may occur within a training epoch, so training's random state is restored later.
        """
        if self.copies:
            devices = [self.device] if self.device.type == "cuda" else []
            self._aside.enter_context(torch.random.fork_rng(devices))
            torch.manual_seed(self.seed)

    def on_test_epoch_start(self) -> None:
        """Seed the augmented copies, so that they are the same in each test."""
        self.on_validation_epoch_start()

    def on_train_epoch_end(self) -> None:
        """Log the training metrics, and step a `ReduceLROnPlateau` scheduler.

        Lightning would step it after the checkpoint is written, and also without a new metric.
        """
        self._log_epoch("train")
        is_new = self.monitor.startswith("train/") or self._is_validated
        self._is_validated = False
        value = self.trainer.callback_metrics.get(self.monitor)  # None in a truncated first epoch
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, ReduceLROnPlateau) and is_new and value is not None:
                config.scheduler.step(value)

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        self._log_epoch("val")
        self._is_validated = not self.trainer.sanity_checking
        self._aside.close()

    def on_test_epoch_end(self) -> None:
        """Log the test metrics."""
        self._log_epoch("test")
        self._aside.close()

    def configure_optimizers(self) -> Any:
        """Make the optimizer and the scheduler, which steps after each epoch.

        A scheduler with a parameter ``total_steps`` gets the run's number of training steps and
        steps after each of them.
        """
        optimizer, scheduler = self._make_optimizer()
        if scheduler is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": scheduler,
                "interval": "step" if self._acts_on_steps() else "epoch",
                "monitor": self.monitor,
                # See `on_train_epoch_end`.
                "frequency": sys.maxsize if isinstance(scheduler, ReduceLROnPlateau) else 1,
            },
        }

    def _make_optimizer(self) -> tuple[Optimizer, Scheduler | None]:
        assert self.make_optimizer is not None, "a classifier without optimizer cannot be trained"
        optimizer = self.make_optimizer(self.parameters())
        if self.make_scheduler is None:
            return optimizer, None
        steps = {"total_steps": self._total_steps()} if self._acts_on_steps() else {}
        return optimizer, self.make_scheduler(optimizer, **steps)

    def _acts_on_steps(self) -> bool:
        assert self.make_scheduler is not None
        return "total_steps" in inspect.signature(self.make_scheduler).parameters

    def _total_steps(self) -> int:
        """Return the number of training steps of the run; a placeholder without a trainer."""
        if self._trainer is None:
            return 1000
        return int(self.trainer.estimated_stepping_batches)

    def _steps_in_an_epoch(self) -> int:
        """Return the number of training steps per epoch; needs a trainer that trains."""
        return math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)


def _scores(classes: int) -> MetricCollection:
    # Recall weighted by class frequency is accuracy, so both metrics share one state.
    return MetricCollection(
        {
            "accuracy": MulticlassAccuracy(classes, average="weighted", validate_args=False),
            "macro_f1": MulticlassF1Score(classes, average="macro", validate_args=False),
        },
        compute_groups=[["accuracy", "macro_f1"]],
    )


def channel_statistics(signals: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel, (channels,), of (n, time, channels).

    A constant channel gets the deviation 1, so that normalization maps it to 0.
    """
    steps = signals.reshape(-1, signals.shape[2])
    # Subtracting the first step gives a constant channel a deviation of exactly 0.
    first = steps[0].to(torch.float64)
    total, squares = torch.zeros_like(first), torch.zeros_like(first)
    for block in torch.split(steps, _BLOCK):
        away = block.to(torch.float64) - first
        total += away.sum(dim=0)
        squares += away.square().sum(dim=0)
    mean = total / len(steps)
    std = (squares / len(steps) - mean.square()).clamp(min=0).sqrt()
    return (first + mean).float(), torch.where(std > 0, std, 1.0).float()


def inverse_frequencies(labels: Tensor, classes: int) -> Tensor:
    """Return weights (classes,) inverse to the class frequencies, with mean 1 over the windows."""
    counts = torch.bincount(labels, minlength=classes).clamp(min=1)
    return (len(labels) / (classes * counts)).float()
