"""Composes configs and starts runs in notebooks and scripts."""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from harnest.core.error_messages import one_line
from harnest.core.errors import ConfigError
from harnest.core.paths import CONFIG_DIR
from harnest.core.secrets import move_to_environment
from harnest.training.limits import check_limits
from harnest.training.task import task_of


def compose(*overrides: str) -> DictConfig:
    """Compose the config of ``overrides``, to look at, or to make data or a classifier of.

    Raises `ConfigError` for overrides that cannot be used.
    """
    cfg = _with_hydra(move_to_environment(list(overrides)))
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def start_run(*overrides: str) -> tuple[DictConfig, Path]:
    """Begin a run: compose its config, and make its directory where ``harnest-train`` does.

    `harnest.training.run.run` and `harnest.training.components.assemble` take the config, until
    another run is begun. The directory holds what commands look for there, so that the run can be
    evaluated and repeated like any other. Raises `ConfigError` as `compose` does.
    """
    given = move_to_environment(list(overrides))
    cfg = _with_hydra(given)
    directory = Path(cfg.hydra.run.dir).resolve()
    with open_dict(cfg):
        cfg.hydra.runtime.output_dir = str(directory)
        HydraConfig.instance().set_config(cfg)  # configs and the trainer ask it for the directory
        del cfg["hydra"]
    record = directory / ".hydra"
    record.mkdir(parents=True)
    OmegaConf.save(cfg, record / "config.yaml")
    OmegaConf.save(OmegaConf.create(given), record / "overrides.yaml")
    return cfg, directory


def _with_hydra(overrides: list[str]) -> DictConfig:
    with hydra.initialize_config_dir(str(CONFIG_DIR), job_name="train"):
        try:
            cfg = hydra.compose("train", overrides, return_hydra_config=True)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(one_line(error) or str(error)) from error
    check_limits(cfg, task_of(cfg).limits)
    return cfg
