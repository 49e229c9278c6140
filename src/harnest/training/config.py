"""Questions about a config, answered before torch is imported."""

import re
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from harnest.core.errors import ConfigError
from harnest.study.execution.launcher_traits import LauncherTraits, traits_of
from harnest.study.execution.slot import visible_gpus

#: The number of a network's weights, as an objective or a constraint.
PARAMETERS = "parameters"

#: Values of ``trainer.precision`` that every device computes.
FULL_PRECISIONS = ("32-true", "64-true")

#: Names of Lightning's strategies, and of their classes, that train in the process that there is.
_ON_ONE_DEVICE = re.compile(r"auto$|single_|SingleDevice")


def is_half_precision_here(cfg: DictConfig) -> bool:
    """Whether the trials of a sweep use half precision on this machine's CPU."""
    precision = OmegaConf.select(cfg, "trainer.precision", default="auto")
    if precision in ("auto", *FULL_PRECISIONS):
        return False
    if _launcher(cfg).runs_elsewhere:
        return False
    accelerator = OmegaConf.select(cfg, "trainer.accelerator")
    if accelerator == "auto":
        return OmegaConf.select(cfg, "hydra.launcher.gpus") == "none" or not has_gpu()
    return bool(accelerator == "cpu")


def check_one_process(cfg: DictConfig) -> None:
    """Raise `ConfigError` for a trial of a sweep that would train in several processes.

    Lightning would restart the whole command for each further device, or fork the process that the
    launcher watches. Launchers on other machines are not checked here.
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
        raise several_devices_error(several[0])


def several_devices_error(asked: str) -> ConfigError:
    """The error of a trial that would train on several devices; ``asked`` is the setting."""
    return ConfigError(
        f"{asked}: each trial of a sweep trains on one device, in one process; choose "
        "trainer.devices=1 trainer.strategy=auto, or train a single run, without -m (--multirun)"
    )


def _devices(cfg: DictConfig) -> int:
    """How many devices a trial uses; 1 if only its own machine can tell."""
    devices = OmegaConf.select(cfg, "trainer.devices", default=1)
    if isinstance(devices, ListConfig):
        return len(devices)
    if isinstance(devices, str) and "," in devices:
        return len([one for one in devices.split(",") if one.strip()])
    if str(devices) not in ("auto", "-1"):
        return _number(devices)
    is_cpu = OmegaConf.select(cfg, "trainer.accelerator") == "cpu"  # a CPU is one device
    return len(visible_gpus()) if _launcher(cfg).sees_all_gpus and not is_cpu else 1


def _launcher(cfg: DictConfig) -> LauncherTraits:
    return traits_of(str(OmegaConf.select(cfg, "hydra.launcher._target_")))


def _number(value: Any) -> int:
    """A whole number, also where it is a text; 1 for all that Lightning has to refuse."""
    return int(value) if str(value).isdecimal() else 1


def has_gpu() -> bool:
    """Whether torch can use a GPU here."""
    if visible_gpus():
        return True
    import torch  # late, and only for those of another make

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def directions(objective: DictConfig) -> list[str]:
    """Which way each objective is better, in Optuna's words."""
    return [f"{mode}imize" for mode in (objective.mode, *(objective.extra or {}).values())]


def metric_names(objective: DictConfig) -> list[str]:
    """The names of the objectives."""
    return [str(name) for name in (objective.metric, *(objective.extra or {}))]


def default_mode(metric: str | None) -> str:
    """Whether ``max`` or ``min`` of a metric is better: a loss is to be low."""
    return "min" if str(metric).endswith("loss") else "max"


OmegaConf.register_resolver("harnest.directions", directions, replace=True)
OmegaConf.register_resolver("harnest.metric_names", metric_names, replace=True)
OmegaConf.register_resolver("harnest.default_mode", default_mode, replace=True)


def has_replicates(cfg: DictConfig) -> bool:
    """Whether ``cfg`` asks for folds or several seeds."""
    return cfg.folds is not None or cfg.seeds > 1


def check_unsearched(cfg: DictConfig) -> None:
    """Raise `ConfigError` for a sweep that searches nothing and has no replicates."""
    if not has_replicates(cfg):
        raise ConfigError(
            "nothing is searched: give values such as optimizer.lr=1e-3,1e-2, or sweep=quick; "
            "leave out -m (--multirun) to train once"
        )
