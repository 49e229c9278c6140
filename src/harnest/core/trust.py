"""Which code a config may call."""

import fnmatch
import importlib
import os
from typing import Any

from harnest.core.errors import ConfigError


def trusted() -> tuple[str, ...]:
    """Names that a config's ``_target_`` may call.

    A config is data and may come from elsewhere, so it can only call what trusted code names:
    what is listed here, and what the environment variable ``HARNEST_TRUST`` names, with all below
    it. Raises `ConfigError` where that holds something else than names.
    """
    own = os.environ.get("HARNEST_TRUST", "").replace(",", " ").split()
    own = [name.removesuffix(".*") for name in own]
    for name in own:
        if not all(map(str.isidentifier, name.split("."))):
            raise ConfigError(
                f"HARNEST_TRUST={name} cannot be used: give names of packages or modules, as mylab "
                "or mylab.models"
            )
    return (
        "harnest.*",
        "torch.optim.*",
        "torch.nn.*",
        "pytorch_lightning.Trainer",
        "pytorch_lightning.trainer.trainer.Trainer",
        "pytorch_lightning.callbacks.*",
        "pytorch_lightning.loggers.*",
        "pytorch_lightning.strategies.*",
        "optuna.samplers.*",
        "optuna.pruners.*",
        "hydra_plugins.hydra_optuna_sweeper.*",
        *own,
        *(f"{name}.*" for name in own),
    )


def import_trusted(name: str) -> Any:
    """Import the object whose dotted name is ``name``, for example ``mylab.figures.draw``.

    Raises `ConfigError` where it is not among the `trusted` names, or does not exist.
    """
    if not any(fnmatch.fnmatchcase(name, pattern) for pattern in trusted()):
        raise ConfigError(
            f"{name} is not trusted; if it is code of your own, say so with the environment "
            f"variable HARNEST_TRUST={name.partition('.')[0]}"
        )
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{name} cannot be imported: {error}") from error
