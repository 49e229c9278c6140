"""Config -> data, classifier, callbacks, loggers, trainer: the one place that instantiates."""

import logging
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as L
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback, Checkpoint, ModelCheckpoint
from pytorch_lightning.loggers import Logger

from harnest.core.errors import ConfigError, HarnestError
from harnest.core.silence_libraries import silence_libraries
from harnest.core.trust import trusted
from harnest.har.augmentation.base import triads
from harnest.har.classifier import Classifier, channel_statistics, inverse_frequencies
from harnest.har.data.data_module import WindowModule
from harnest.har.data.prepare import prepare
from harnest.har.data.splits import missing_activities, split
from harnest.har.networks.data_dependent_init import DataDependentInit
from harnest.har.packed.pack import is_packable, train_epoch
from harnest.har.packed.packed_classifier import PackedClassifier, has_batch_hooks, unsupported
from harnest.study.execution.barrier import is_packed, synchronize
from harnest.study.trial import Trial
from harnest.training.callbacks.pruning import PruningCallback
from harnest.training.malloc import keep_freed_memory
from harnest.training.precision import auto_precision, precision_error

log = logging.getLogger(__name__)

# What a network is tried on where there are no windows yet: channels, and steps of a window.
_CHANNELS, _STEPS = 6, 64


@dataclass(frozen=True)
class RunComponents:
    """Everything that one run is made of."""

    data: WindowModule
    classifier: Classifier
    trainer: L.Trainer

    @property
    def checkpoint(self) -> ModelCheckpoint | None:
        """The callback that keeps the best epoch, where the config has one."""
        callbacks = self.trainer.checkpoint_callbacks
        return next((one for one in callbacks if isinstance(one, ModelCheckpoint)), None)


def assemble(cfg: DictConfig, directory: Path, trial: Trial | None = None) -> RunComponents:
    """Make the parts of the run that ``cfg`` describes; they write below ``directory``.

    A run that is a ``trial`` reports to it, and leaves the terminal to its study; where it shares
    its process with others, they are trained together. Raises `HarnestError` for what the config
    asks and cannot be had.
    """
    silence_libraries()
    keep_freed_memory()
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    # cuBLAS repeats its results only with a fixed workspace, and reads this once.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Deterministic algorithms would fill each new tensor, for those who read it before they write.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    loggers = make_loggers(cfg)  # first: a server that is away is told at once
    data = make_data(cfg)
    if not data.split.validation_subjects and cfg.objective.metric.startswith("val/"):
        raise ConfigError(
            f"data.validation=null: no subject is left to tell {cfg.objective.metric}; give "
            "objective.metric=train/loss as well"
        )
    callbacks: list[Callback] = _each(cfg.callbacks)
    if trial is not None:
        callbacks.insert(0, PruningCallback(trial, cfg.objective.metric))
    trainer = make_trainer(
        cfg,
        callbacks=callbacks,
        logger=loggers or False,
        default_root_dir=str(directory),
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        enable_progress_bar=cfg.trainer.enable_progress_bar and trial is None,
        use_distributed_sampler=False,  # our batches share themselves out
    )
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    classifier = make_classifier(cfg, data, kind=_kind(cfg, data, trainer))
    few, precision = torch.from_numpy(data.windows.signals[:2]), str(cfg.trainer.precision)
    _check_precision(trainer, classifier.network, few, precision)
    if precision.startswith("16") and trainer.precision == "bf16-mixed":  # by Lightning
        log.warning("trainer.precision=%s: on a CPU, bf16-mixed is used instead", precision)
    if isinstance(classifier, PackedClassifier):
        # Its epoch is one batch to Lightning; the limits are its pack's to keep.
        trainer.limit_train_batches = trainer.limit_val_batches = 1
    return RunComponents(data, classifier, trainer)


def make_trainer(cfg: DictConfig, **arguments: Any) -> L.Trainer:
    """Make the config's trainer, with ``arguments`` that go before it."""
    precision = cfg.trainer.precision
    if precision == "auto":
        precision = auto_precision(cfg.trainer.accelerator)
    trainer: L.Trainer = build(cfg.trainer, precision=precision, **arguments)
    if not hasattr(trainer, "val_check_interval"):
        # Lightning leaves it out where a clock says when, and its EarlyStopping asks for it.
        trainer.val_check_interval = math.inf
    return trainer


def check_precision(cfg: DictConfig) -> None:
    """Raise `ConfigError` where this CPU cannot compute the config's network in its precision.

    It needs no data, so that a sweep can ask before its first trial: the network is made for
    windows of an arbitrary shape. Whatever else is wrong with the config is left to `assemble`.
    """
    silence_libraries()
    precision = str(cfg.trainer.precision)
    with torch.random.fork_rng(devices=[]):
        try:
            network = build(cfg.model, channels=_CHANNELS, classes=2)
            trainer = L.Trainer(
                accelerator="cpu",
                precision=precision,  # type: ignore[arg-type]  # Lightning checks it
                logger=False,
                enable_checkpointing=False,
            )
        except Exception:
            return
        _check_precision(trainer, network, torch.randn(2, _STEPS, _CHANNELS), precision)


def _check_precision(
    trainer: L.Trainer, network: torch.nn.Module, windows: torch.Tensor, asked: str
) -> None:
    why = precision_error(trainer, network, windows)
    if why is not None:
        raise ConfigError(
            f"trainer.precision={asked} cannot be used: this CPU does not compute "
            f"{type(network).__name__} in it ({why}); choose trainer.precision=32-true"
        )


def make_loggers(cfg: DictConfig) -> list[Logger]:
    """Make the config's loggers."""
    return _each(cfg.logger)


def make_data(cfg: DictConfig, *, warn: bool = True) -> WindowModule:
    """Prepare the config's data set, or take it from the cache, and split it by subject.

    With ``warn``, each part that lacks activities is named in a warning.
    """
    data = cfg.data
    windows = prepare(
        build(data.source),
        window=data.window,
        step=data.step,
        cache=None if data.cache is None else Path(data.cache),
    )
    parts = split(
        windows.subjects,
        windows.labels,
        validation=_plain(data.validation),
        test=_plain(data.test),
        seed=data.split_seed,
        official=windows.test_subjects,
        activities=windows.activities,
    )
    if warn:
        for line in missing_activities(parts, windows.labels, windows.activities):
            log.warning(line)
    return WindowModule(windows, parts, batch_size=data.batch_size, seed=cfg.seed)


def _kind(cfg: DictConfig, data: WindowModule, trainer: L.Trainer) -> Callable[..., Classifier]:
    """Makes a classifier that Lightning trains, or one of a pack.

    On a GPU a run of its own is a pack of one where it can be: its steps are then one CUDA graph.
    """
    member = partial(
        PackedClassifier,
        tensors=data.tensors,
        order=data.order,
        batch_size=data.batch_size,
        limit_train=trainer.limit_train_batches,
        limit_val=trainer.limit_val_batches,
    )
    if is_packed():
        return partial(member, synchronize=lambda one: synchronize(one, train_epoch))
    device = trainer.strategy.root_device
    if device.type != "cuda" or not cfg.cuda_graph or not data.fits(device):
        return Classifier
    is_augmented, copies = bool(_each(cfg.augmentation)), cfg.test_time.copies
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # by its constructor
    if unsupported(trainer, is_augmented=is_augmented, copies=copies) or any(
        map(has_batch_hooks, callbacks)
    ):
        return Classifier

    def made(network: torch.nn.Module, **options: Any) -> Classifier:
        few = torch.from_numpy(data.windows.signals[:2])
        if not is_packable(network, options["optimizer"], few, str(trainer.precision)):
            return Classifier(network, **options)
        return member(network, synchronize=lambda one: train_epoch([one]), **options)

    return made


def make_classifier(
    cfg: DictConfig,
    data: WindowModule,
    *,
    init_from_data: bool = True,
    kind: Callable[..., Classifier] = Classifier,
) -> Classifier:
    """Make the untrained classifier for ``data``; its statistics are the training subjects'.

    Without ``init_from_data`` a network lacks the constants that a checkpoint is to bring.
    """
    signals, labels = data.tensors("train")
    classes = len(data.windows.activities)
    mean, std = channel_statistics(signals)
    network = build(cfg.model, channels=signals.shape[2], classes=classes)
    classifier = kind(
        network,
        mean=mean,
        std=std,
        classes=classes,
        class_weights=inverse_frequencies(labels, classes) if cfg.loss.class_weights else None,
        label_smoothing=cfg.loss.label_smoothing,
        optimizer=build(cfg.optimizer),
        scheduler=build(cfg.scheduler),
        monitor=cfg.objective.metric,
        augmentations=_each(cfg.augmentation),
        triads=triads((channel.name, channel.unit) for channel in data.windows.channels),
        copies=cfg.test_time.copies,
        seed=cfg.seed,
    )
    # Once in vain, here and below: training would come to it too late.
    with torch.random.fork_rng(devices=[]):
        classifier.augmented((signals[:2], labels[:2]))
    if init_from_data and isinstance(network, DataDependentInit):
        network.init_from_data(*classifier.examples(signals, labels))
    try:
        classifier.configure_optimizers()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the optimizer or the scheduler cannot be made: {error}") from error
    return classifier


def build(node: DictConfig | None, **arguments: Any) -> Any:
    """Call the ``_target_`` of ``node``, or return None where there is none.

    Raises `ConfigError` where the target is not trusted, does not exist, or refuses its
    arguments.
    """
    if node is None or node.get("_target_") is None:
        return None
    # On its own: Hydra copies the whole config that a node is a part of.
    plain = OmegaConf.to_container(node, resolve=True)
    try:
        return instantiate(plain, **arguments, _execution_whitelist_=trusted(), _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, HarnestError):
            raise cause from error
        raise ConfigError(_why(str(node._target_), error)) from error
    except (TypeError, ValueError, ImportError, AttributeError, MisconfigurationException) as error:
        raise ConfigError(_why(str(node._target_), error)) from error


def _why(target: str, error: Exception) -> str:
    text = "; ".join(line.strip() for line in str(error.__cause__ or error).strip().splitlines())
    refused = re.match(r"Target '([^']+)'", text)  # this one, or one inside it
    target = refused[1] if refused else target
    if "cannot be authorized" in text:
        return f"_target_: {target} runs whatever its arguments say: a config may not call it"
    if "whitelist" in text:
        package = target.partition(".")[0]
        return (
            f"_target_: {target} is not trusted; if it is code of your own, "
            f"say so with the environment variable HARNEST_TRUST={package}"
        )
    return f"_target_: {target} cannot be made: {text}"


def _each(group: DictConfig | None) -> list[Any]:
    """The members of a group that holds several, without those switched off by null."""
    made = (build(node) for node in (group or {}).values())
    return [member for member in made if member is not None]


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
