"""Configs before anything heavy is imported: where they are, what they may say."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from harnest.core.errors import ConfigError
from harnest.core.secrets import redact
from harnest.har.networks import METRICS
from harnest.study.execution.slot import visible_gpus

#: The number of a network's weights, as an objective or a constraint.
PARAMETERS = "parameters"

#: Values of ``trainer.precision`` that every device computes.
FULL_PRECISIONS = ("32-true", "64-true")

#: Launchers whose trials run on other machines than the sweep.
_ELSEWHERE = ("RayLauncher", "RayAWSLauncher", "SlurmLauncher")

#: Names of Lightning's strategies, and of their classes, that train in the process that there is.
_ON_ONE_DEVICE = re.compile(r"auto$|single_|SingleDevice")

_Test = tuple[Callable[[Any], bool], str]
_COUNT: _Test = (lambda x: isinstance(x, int) and x >= 1, "a whole number of at least 1")
_SHARE: _Test = (lambda x: 0 <= x < 1, "at least 0 and below 1")
_POSITIVE: _Test = (lambda x: x > 0, "above 0")
_NOT_NEGATIVE: _Test = (lambda x: x >= 0, "at least 0")
_METRIC: _Test = (lambda x: x in METRICS, f"one of {', '.join(METRICS)}")

_EPOCHS: _Test = (
    _COUNT[0],
    "a whole number of at least 1; +trainer.max_steps or +trainer.max_time may end training sooner",
)

_WAYS = ("max", "min")

LIMITS: Mapping[str, _Test] = {
    "seed": (lambda x: 0 <= x < 2**32, "a whole number from 0 to 4294967295"),
    "folds": (lambda x: x == "loso" or (isinstance(x, int) and x >= 2), "loso or at least 2"),
    "seeds": _COUNT,
    "threads": _COUNT,
    "resume": (lambda x: Path(x).is_file(), "a checkpoint that exists"),
    "data.batch_size": _COUNT,
    "data.window": _POSITIVE,
    "data.step": _POSITIVE,
    "model.hidden_size": _COUNT,
    "model.layers": _COUNT,
    "model.dropout": _SHARE,
    "loss.label_smoothing": _SHARE,
    "optimizer.lr": _POSITIVE,
    "optimizer.weight_decay": _NOT_NEGATIVE,
    "trainer.max_epochs": _EPOCHS,
    "trainer.check_val_every_n_epoch": _COUNT,
    "trainer.limit_train_batches": _POSITIVE,
    "objective.metric": _METRIC,
    "objective.mode": (lambda x: x in _WAYS, "max or min"),
    "objective.also": (
        lambda x: set(x) <= {*METRICS, PARAMETERS} and set(x.values()) <= set(_WAYS),
        f"max or min for each of {', '.join((*METRICS, PARAMETERS))}",
    ),
    # Early stopping passes over a metric that is not there, and so over a misspelt one.
    "callbacks.early_stopping.monitor": _METRIC,
}


def check_limits(cfg: DictConfig) -> None:
    """Raise `ConfigError` for the first value that nothing could be done with.

    That is also a password: whatever a config says itself is written to disk.
    """
    for key, text in _texts(OmegaConf.to_container(cfg, resolve=False)):
        if redact(text) != text:
            raise ConfigError(
                f"{key}: a config is written to disk, and this address holds a password; put the "
                "address into an environment variable and give ${oc.env:NAME}"
            )
    for key, (allowed, wanted) in LIMITS.items():
        value = OmegaConf.select(cfg, key)
        if value is not None and not _holds(allowed, value):
            raise ConfigError(f"{key}={value} cannot be used: it must be {wanted}")
    epochs = OmegaConf.select(cfg, "trainer.max_epochs", default=math.inf)
    if epochs is None:  # schedulers and averages of weights are laid out over the epochs
        raise ConfigError(f"trainer.max_epochs=null cannot be used: it must be {_EPOCHS[1]}")
    metric = OmegaConf.select(cfg, "objective.metric")
    if str(metric).startswith("val/"):
        every = OmegaConf.select(cfg, "trainer.check_val_every_n_epoch")
        if every is not None and every > epochs:
            raise ConfigError(
                f"trainer.check_val_every_n_epoch={every} cannot be used: training ends after "
                f"trainer.max_epochs={epochs}, before {metric} is measured; choose at most {epochs}"
            )
        if OmegaConf.select(cfg, "trainer.limit_val_batches") == 0:
            raise ConfigError(
                f"trainer.limit_val_batches=0: no window is left to tell {metric}; give "
                "objective.metric=train/loss as well"
            )
    if OmegaConf.select(cfg, "trainer.accelerator") in ("gpu", "cuda"):
        if not _has_gpu():
            raise ConfigError(
                "trainer.accelerator=gpu cannot be used: there is no GPU here that torch can use; "
                "choose trainer=auto or trainer=cpu"
            )
        if OmegaConf.select(cfg, "hydra.launcher.gpus") == "none":
            raise ConfigError(
                "trainer.accelerator=gpu cannot be used: hydra.launcher.gpus=none gives trials no "
                "GPU; choose trainer=cpu, or hydra.launcher.gpus=auto"
            )


def is_half_precision_here(cfg: DictConfig) -> bool:
    """Whether a sweep's config asks for half precision, and its trials run on this CPU."""
    precision = OmegaConf.select(cfg, "trainer.precision", default="auto")
    if precision in ("auto", *FULL_PRECISIONS):
        return False
    launcher = str(OmegaConf.select(cfg, "hydra.launcher._target_"))
    if launcher.rpartition(".")[2] in _ELSEWHERE:
        return False
    accelerator = OmegaConf.select(cfg, "trainer.accelerator")
    if accelerator == "auto":
        return OmegaConf.select(cfg, "hydra.launcher.gpus") == "none" or not _has_gpu()
    return bool(accelerator == "cpu")


def check_one_process(cfg: DictConfig) -> None:
    """Raise `ConfigError` for a trial of a sweep that would train in several processes.

    Lightning starts the whole command again for each device but the first, or forks the process
    that the launcher watches. What the launcher's machine alone can tell is not asked here.
    """
    strategy = OmegaConf.select(cfg, "trainer.strategy", default="auto")
    name = str(strategy.get("_target_") if isinstance(strategy, DictConfig) else strategy)
    asked = {
        f"trainer.strategy={name}": not _ON_ONE_DEVICE.match(name.rpartition(".")[2]),
        f"trainer.num_nodes={OmegaConf.select(cfg, 'trainer.num_nodes')}": (
            _number(OmegaConf.select(cfg, "trainer.num_nodes")) > 1
        ),
        f"trainer.devices={OmegaConf.select(cfg, 'trainer.devices')}": _devices(cfg) > 1,
    }
    several = [key for key, is_several in asked.items() if is_several]
    if several:
        raise several_devices(several[0])


def several_devices(asked: str) -> ConfigError:
    """The error of a trial that would train on several devices, in words of what was ``asked``."""
    return ConfigError(
        f"{asked}: each trial of a sweep trains on one device, in one process; choose "
        "trainer.devices=1 trainer.strategy=auto, or train a single run, without -m (--multirun)"
    )


def _devices(cfg: DictConfig) -> int:
    """How many devices a trial asks for; 1 where only its own machine knows."""
    devices = OmegaConf.select(cfg, "trainer.devices", default=1)
    if isinstance(devices, ListConfig):
        return len(devices)
    if isinstance(devices, str) and "," in devices:
        return len([one for one in devices.split(",") if one.strip()])
    if str(devices) not in ("auto", "-1"):
        return _number(devices)
    launcher = str(OmegaConf.select(cfg, "hydra.launcher._target_")).rpartition(".")[2]
    sees_all = launcher in ("BasicLauncher", "JoblibLauncher", "LocalLauncher")
    is_cpu = OmegaConf.select(cfg, "trainer.accelerator") == "cpu"  # whose cores are one device
    return len(visible_gpus()) if sees_all and not is_cpu else 1


def _number(value: Any) -> int:
    """A whole number, also where it is a text; 1 for all that Lightning has to refuse."""
    return int(value) if str(value).isdecimal() else 1


def _has_gpu() -> bool:
    if visible_gpus():
        return True
    import torch  # late, and only for those of another make

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def directions(objective: DictConfig) -> list[str]:
    """Which way each objective is better, in Optuna's words."""
    return [f"{mode}imize" for mode in (objective.mode, *(objective.also or {}).values())]


def metric_names(objective: DictConfig) -> list[str]:
    """What each objective is called."""
    return [str(name) for name in (objective.metric, *(objective.also or {}))]


def better(metric: str | None) -> str:
    """Whether ``max`` or ``min`` of a metric is better: a loss is to be low."""
    return "min" if str(metric).endswith("loss") else "max"


OmegaConf.register_resolver("harnest.directions", directions, replace=True)
OmegaConf.register_resolver("harnest.metric_names", metric_names, replace=True)
OmegaConf.register_resolver("harnest.better", better, replace=True)


def has_replicates(cfg: DictConfig) -> bool:
    """Whether ``cfg`` asks for several runs whose mean is one score."""
    return cfg.folds is not None or cfg.seeds > 1


def check_unsearched(cfg: DictConfig) -> None:
    """Raise `ConfigError` for a sweep of this one config, unless it asks for several runs."""
    if not has_replicates(cfg):
        raise ConfigError(
            "nothing is searched: give values such as optimizer.lr=1e-3,1e-2, or sweep=quick; "
            "leave out -m (--multirun) to train once"
        )


def _texts(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """All texts of a config as they stand there, with their keys."""
    if isinstance(node, dict | list):
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _texts(value, f"{key}.{name}".lstrip("."))
    elif isinstance(node, str):
        yield key, node


def _holds(allowed: Callable[[Any], bool], value: Any) -> bool:
    try:
        return allowed(value)
    except TypeError:
        return False
