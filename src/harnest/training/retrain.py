"""Trains a recorded config in a new directory, as a new run."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from harnest.core.paths import CONFIG_DIR, remove_if_unused
from harnest.core.secrets import move_to_environment
from harnest.study import Replicates
from harnest.training.application import run_application
from harnest.training.run import RunResult, run

#: Hydra's side of a run, as the trainer's own root config has it.
_HYDRA = ("job_logging", "hydra_logging", "output")


def retrain(cfg: DictConfig, *, name: str, address: str, tags: Mapping[str, str]) -> RunResult:
    """Train ``cfg`` from its first epoch on; its record in the store at ``address`` is ``name``.

    Raises what `harnest.training.run.run` raises.
    """
    config = cfg.copy()
    config.resume = None
    if "mlflow" in (config.get("logger") or {}):
        (where,) = move_to_environment([f"logger.mlflow.tracking_uri={address}"])  # a password
        config.logger.mlflow |= {"tracking_uri": where.partition("=")[2], "run_name": name}
    done: list[RunResult] = []
    failures: list[BaseException] = []

    def task(composed: DictConfig) -> None:
        directory = Path(HydraConfig.get().runtime.output_dir)
        try:
            result = run(composed, tags)
            assert not isinstance(result, Replicates)  # those are for studies only
            done.append(RunResult.of(directory, result))
        except BaseException as error:  # Hydra would print its own line
            remove_if_unused(directory)
            failures.append(error)

    task.__module__ = (
        "harnest.training.train"  # Hydra names the job after it, as it did the first time
    )
    with tempfile.TemporaryDirectory() as folder:
        root = {
            "defaults": ["_self_", *({f"override hydra/{one}": "harnest"} for one in _HYDRA)],
            "hydra": {"searchpath": [f"file://{CONFIG_DIR}"]},
        }
        text = f"{OmegaConf.to_yaml(OmegaConf.create(root))}\n{OmegaConf.to_yaml(config)}"
        Path(folder, "again.yaml").write_text(text)
        run_application(task, [], folder, "again")
    if failures:
        raise failures[0]
    return done[0]
