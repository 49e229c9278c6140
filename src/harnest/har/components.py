"""Windows and classifiers from a config, for training and for evaluation."""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as L
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback

from harnest.core.errors import ConfigError
from harnest.core.silence_libraries import silence_libraries
from harnest.har.augmentation.base import triads
from harnest.har.classifier import Classifier, channel_statistics, inverse_frequencies
from harnest.har.data.data_module import WindowModule
from harnest.har.data.folds import folds
from harnest.har.data.prepare import prepare
from harnest.har.data.splits import missing_activities, split
from harnest.har.networks.data_dependent_init import DataDependentInit
from harnest.har.packed.pack import is_packable, train_epoch
from harnest.har.packed.packed_classifier import PackedClassifier, has_batch_hooks, unsupported
from harnest.study.execution.barrier import is_packed, synchronize
from harnest.training.instantiate import build, build_each
from harnest.training.precision import precision_error

log = logging.getLogger(__name__)

# Channels and steps of the windows that a network is tested on before the data are read.
_CHANNELS, _STEPS = 6, 64


def make_data(cfg: DictConfig, *, warn: bool = True) -> WindowModule:
    """Prepare the config's data set, or load it from the cache, and split it by subject.

    With ``warn``, a warning is logged for each part that lacks activities.
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
        validation=_to_python(data.validation),
        test=_to_python(data.test),
        seed=data.split_seed,
        official=windows.test_subjects,
        activities=windows.activities,
    )
    if warn:
        for line in missing_activities(parts, windows.labels, windows.activities):
            log.warning(line)
    return WindowModule(windows, parts, batch_size=data.batch_size, seed=cfg.seed)


def make_module(cfg: DictConfig, data: WindowModule, trainer: L.Trainer) -> Classifier:
    """Make the classifier that ``trainer`` trains on ``data``.

    It is a member of a pack in a packed trial, and on a GPU where a pack of one is possible.

    Args:
        cfg: The run's config.
        data: The windows.
        trainer: The trainer. For a member of a pack its batch limits are set to 1.

    Raises:
        ConfigError: The config is invalid, or this CPU cannot compute the network in the trainer's
            precision.
    """
    classifier = make_classifier(cfg, data, kind=_classifier_factory(cfg, data, trainer))
    few = torch.from_numpy(data.windows.signals[:2])
    _check_computable(trainer, classifier.network, few, str(cfg.trainer.precision))
    if isinstance(classifier, PackedClassifier):
        # For Lightning an epoch is one batch; the pack applies the configured limits.
        trainer.limit_train_batches = trainer.limit_val_batches = 1
    return classifier


def make_classifier(
    cfg: DictConfig,
    data: WindowModule,
    *,
    init_from_data: bool = True,
    kind: Callable[..., Classifier] = Classifier,
) -> Classifier:
    """Make an untrained classifier with the channel statistics of the training subjects.

    Args:
        cfg: The run's config.
        data: The windows.
        init_from_data: Whether to initialize a `DataDependentInit` network from the training
            windows; False if a checkpoint is loaded afterwards.
        kind: The class of the classifier.

    Raises:
        ConfigError: The network, an augmentation, the optimizer or the scheduler is invalid.
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
        augmentations=build_each(cfg.augmentation),
        triads=triads((channel.name, channel.unit) for channel in data.windows.channels),
        copies=cfg.tta.copies,
        seed=cfg.seed,
    )
    # Augmentations and optimizer run once here, so that errors occur before training starts.
    with torch.random.fork_rng(devices=[]):
        classifier.augmented((signals[:2], labels[:2]))
    if init_from_data and isinstance(network, DataDependentInit):
        network.init_from_data(*classifier.examples(signals, labels))
    try:
        classifier.configure_optimizers()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the optimizer or the scheduler cannot be made: {error}") from error
    return classifier


def _classifier_factory(
    cfg: DictConfig, data: WindowModule, trainer: L.Trainer
) -> Callable[..., Classifier]:
    """Return the class or factory of the classifier: trained by Lightning, or member of a pack.

    On a GPU a single run is a pack of one where possible, so that its steps run as one CUDA graph.
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
    is_augmented, copies = bool(build_each(cfg.augmentation)), cfg.tta.copies
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


def check_precision(cfg: DictConfig) -> None:
    """Raise `ConfigError` if this CPU cannot compute the config's network in its precision.

    It needs no data, so a sweep calls it before its first trial: the network is made for windows
    of an arbitrary shape. Any other error in the config is ignored here and raised by `assemble`.
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
        _check_computable(trainer, network, torch.randn(2, _STEPS, _CHANNELS), precision)


def _check_computable(
    trainer: L.Trainer, network: torch.nn.Module, windows: torch.Tensor, asked: str
) -> None:
    why = precision_error(trainer, network, windows)
    if why is not None:
        raise ConfigError(
            f"trainer.precision={asked} cannot be used: this CPU does not compute "
            f"{type(network).__name__} in it ({why}); choose trainer.precision=32-true"
        )


def folds_of(cfg: DictConfig) -> list[tuple[str, tuple[str, ...]]]:
    """Return the name and the config overrides of each fold that ``cfg`` defines.

    Raises `HarnestError` if there are fewer subjects than folds.
    """
    made = make_data(cfg, warn=False).split
    everyone = [*made.train_subjects, *made.validation_subjects]
    dealt = folds(everyone, cfg.folds, seed=cfg.data.split_seed)
    # A list, since a fraction for data.test could select other subjects in each fold.
    tested = _subjects_override("test", made.test_subjects)
    return [
        (f"fold-{number}", (_subjects_override("validation", held_out), tested))
        for number, held_out in enumerate(dealt)
    ]


def _subjects_override(part: str, subjects: Iterable[int]) -> str:
    return f"data.{part}=[{','.join(map(str, subjects))}]"


def _to_python(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
