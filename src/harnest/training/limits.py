"""Allowed values of config keys, checked before torch is imported."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from harnest.core.errors import ConfigError
from harnest.core.secrets import redact
from harnest.training.config import has_gpu

#: A test of a value, and what the value has to be, in words.
Limit = tuple[Callable[[Any], bool], str]

COUNT: Limit = (lambda x: isinstance(x, int) and x >= 1, "a whole number of at least 1")
SHARE: Limit = (lambda x: 0 <= x < 1, "at least 0 and below 1")
POSITIVE: Limit = (lambda x: x > 0, "above 0")
NOT_NEGATIVE: Limit = (lambda x: x >= 0, "at least 0")
EPOCHS: Limit = (
    COUNT[0],
    "a whole number of at least 1; +trainer.max_steps or +trainer.max_time may end training sooner",
)

#: Limits of the keys that every task has.
LIMITS: Mapping[str, Limit] = {
    "seed": (lambda x: 0 <= x < 2**32, "a whole number from 0 to 4294967295"),
    "seeds": COUNT,
    "threads": COUNT,
    "resume": (lambda x: Path(x).is_file(), "a checkpoint that exists"),
    "optimizer.lr": POSITIVE,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "trainer.max_epochs": EPOCHS,
    "trainer.check_val_every_n_epoch": COUNT,
    "trainer.limit_train_batches": POSITIVE,
    "objective.mode": (lambda x: x in ("max", "min"), "max or min"),
}


def check_limits(cfg: DictConfig, of_task: Mapping[str, Limit]) -> None:
    """Raise `ConfigError` for the first value that cannot be used.

    Checks `LIMITS`, those of the config's task, and that no text holds a password: a config is
    written to disk.
    """
    for key, text in _texts(OmegaConf.to_container(cfg, resolve=False)):
        if redact(text) != text:
            raise ConfigError(
                f"{key}: a config is written to disk, and this address holds a password; put the "
                "address into an environment variable and give ${oc.env:NAME}"
            )
    for key, (allowed, wanted) in {**LIMITS, **of_task}.items():
        value = OmegaConf.select(cfg, key)
        if value is not None and not _holds(allowed, value):
            raise ConfigError(f"{key}={value} cannot be used: it must be {wanted}")
    epochs = OmegaConf.select(cfg, "trainer.max_epochs", default=math.inf)
    if epochs is None:  # schedulers and averages of weights are laid out over the epochs
        raise ConfigError(f"trainer.max_epochs=null cannot be used: it must be {EPOCHS[1]}")
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
                f"trainer.limit_val_batches=0: no batch is left to measure {metric}; give "
                "objective.metric=train/loss as well"
            )
    if OmegaConf.select(cfg, "trainer.accelerator") in ("gpu", "cuda"):
        if not has_gpu():
            raise ConfigError(
                "trainer.accelerator=gpu cannot be used: there is no GPU here that torch can use; "
                "choose trainer=auto or trainer=cpu"
            )
        if OmegaConf.select(cfg, "hydra.launcher.gpus") == "none":
            raise ConfigError(
                "trainer.accelerator=gpu cannot be used: hydra.launcher.gpus=none gives trials no "
                "GPU; choose trainer=cpu, or hydra.launcher.gpus=auto"
            )


def _texts(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """All strings of a config, unresolved, with their keys."""
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
