"""Trains the components of a run, and reads its scores."""

import math
from datetime import datetime
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import EarlyStopping, Timer
from pytorch_lightning.trainer.states import TrainerStatus

from harnest.core.errors import CheckpointError, ConfigError, DivergedError
from harnest.training.components import RunComponents
from harnest.training.config import PARAMETERS

#: In a checkpoint: the metrics of its epoch, by name.
METRICS = "metrics"


def fit(components: RunComponents, resume: str | None) -> None:
    """Train, from the checkpoint ``resume`` if one is given.

    Raises:
        ConfigError: Lightning rejects the configuration.
        KeyboardInterrupt: Training was interrupted.
    """
    data = components.task.fit_data(components)
    try:
        components.trainer.fit(
            components.module, datamodule=data, ckpt_path=resume, weights_only=True
        )
    except SystemExit as end:
        # Lightning turns an interrupt into an exit; a study needs the interrupt.
        if components.trainer.state.status == TrainerStatus.INTERRUPTED:
            raise KeyboardInterrupt from end
        raise
    except MisconfigurationException as error:
        raise ConfigError(" ".join(str(error).split())) from error


def check_checkpoint(module: torch.nn.Module, file: Path) -> None:
    """Raise `CheckpointError` unless ``file`` holds exactly the weights that ``module`` has."""
    if not file.is_file():
        raise CheckpointError(f"there is no checkpoint {file}")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
    except Exception as error:  # torch raises many kinds for a damaged file
        raise CheckpointError(
            f"{file} is not a readable checkpoint; it may be truncated"
        ) from error
    wanted = module.state_dict()
    differ = [
        key
        for key in sorted(set(wanted) | set(state))
        if key not in state or key not in wanted or wanted[key].shape != state[key].shape
    ]
    if differ:
        raise CheckpointError(
            f"{file} is of another architecture: {len(differ)} of its tensors do not fit, the "
            f"first is {differ[0]}; choose the model, data and options that it was trained with"
        )


def check_remaining(trainer: Trainer, file: Path) -> None:
    """Raise `CheckpointError` if ``file`` has already reached a limit of ``trainer``."""
    state = torch.load(file, map_location="cpu", weights_only=True)
    if "optimizer_states" not in state:
        raise CheckpointError(f"{file} contains only weights; resume from a last.ckpt")
    epochs = state["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    behind: list[tuple[str, float, float | None, str]] = [
        ("trainer.max_epochs", epochs, trainer.max_epochs, "epochs"),
        ("trainer.max_steps", state["global_step"], trainer.max_steps, "steps"),
    ]
    for one in trainer.callbacks:  # type: ignore[attr-defined]  # by its constructor
        before = state["callbacks"].get(one.state_key)
        if isinstance(one, Timer) and before:
            seconds = before["time_elapsed"]["train"]
            behind.append(("trainer.max_time", seconds, one.time_remaining(), "seconds"))
        if isinstance(one, EarlyStopping) and before:
            waited, unit = before["wait_count"], "validations without improvement"
            behind.append(("callbacks.early_stopping.patience", waited, one.patience, unit))
    for key, used, limit, unit in behind:
        if limit not in (None, -1) and used >= limit:
            raise CheckpointError(
                f"resume={file}: nothing is left to train, {used:.0f} of {limit:.0f} {unit} are "
                f"done; give a larger {key}"
            )


def score_of(components: RunComponents, metric: str) -> float:
    """The best value of ``metric`` over all epochs; the last one if no callback saves the best.

    If the callback selects the best epoch by another metric, the value of that epoch.

    Raises:
        ConfigError: The metric was never measured.
        DivergedError: It is not finite.
    """
    kept = components.checkpoint
    value = components.task.metrics(components).get(metric)
    if kept is not None and kept.monitor == metric and kept.best_model_score is not None:
        value = float(kept.best_model_score)
    elif kept is not None and kept.monitor != metric and kept.best_model_path:
        state = torch.load(kept.best_model_path, map_location="cpu", weights_only=True)
        value = state.get(METRICS, {}).get(metric, value)
    if value is None:
        raise ConfigError(
            f"{metric} was not measured: training ended before its first validation; give a larger "
            "trainer.max_epochs, +trainer.max_steps or +trainer.max_time, or validate sooner with "
            "trainer.check_val_every_n_epoch or +trainer.val_check_interval"
        )
    loss = components.task.metrics(components).get("train/loss", value)
    if not (math.isfinite(value) and math.isfinite(loss)):
        raise DivergedError(
            f"training diverged in epoch {components.trainer.current_epoch}: the loss is not a "
            "number; try a lower optimizer.lr or a smaller trainer.gradient_clip_val"
        )
    return float(value)


def best_epoch(components: RunComponents) -> tuple[int, dict[str, float]] | None:
    """The saved best epoch and its validation metrics; None if no callback saves one."""
    kept = components.checkpoint
    if kept is None or not Path(kept.best_model_path).is_file():
        return None
    state = torch.load(kept.best_model_path, map_location="cpu", weights_only=True)
    metrics = {key: x for key, x in state.get(METRICS, {}).items() if key.startswith("val/")}
    if kept.monitor is not None and kept.best_model_score is not None:
        metrics[kept.monitor] = float(kept.best_model_score)
    return int(state["epoch"]), metrics


def final_metrics(components: RunComponents) -> dict[str, float]:
    """Values for constraints and further objectives: last metrics, and number of weights."""
    weights = (weight.numel() for weight in components.module.parameters() if weight.requires_grad)
    metrics = {name: float(value) for name, value in components.task.metrics(components).items()}
    return {**metrics, PARAMETERS: float(sum(weights))}


def run_name(cfg: DictConfig) -> str:
    """The default name of a run: data set, model and start time."""
    network = HydraConfig.get().runtime.choices.get("model", "network")
    return f"{cfg.data.name}-{network}-{datetime.now():%m-%d-%H-%M-%S}"


def run_tags(cfg: DictConfig, components: RunComponents) -> dict[str, str]:
    """Tags that say on what, and on which hardware, a run was trained."""
    return {
        "seed": str(cfg.seed),
        **components.task.tags(components),
        "device": str(components.trainer.strategy.root_device),
        "precision": str(components.trainer.precision),
        "threads": str(torch.get_num_threads()),
    }
