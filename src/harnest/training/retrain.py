"""A recorded config, trained again: in a directory of its own, as a run of its own."""

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from harnest.core.paths import CONFIG_DIR, remove_if_unused
from harnest.core.secrets import move_to_environment
from harnest.core.trust import trusted
from harnest.study import Replicates

#: Hydra's side of a run, as the trainer's own root config has it.
_HYDRA = ("job_logging", "hydra_logging", "output")


@dataclass(frozen=True)
class RetrainResult:
    """What came of it."""

    directory: Path
    score: float


def retrain(cfg: DictConfig, *, name: str, address: str, tags: Mapping[str, str]) -> RetrainResult:
    """Train ``cfg`` from its first epoch on; its record in the store at ``address`` is ``name``.

    Raises what `harnest.training.run.run` raises.
    """
    from harnest.training.run import run

    config = cfg.copy()
    config.resume = None
    if "mlflow" in (config.get("logger") or {}):
        (where,) = move_to_environment([f"logger.mlflow.tracking_uri={address}"])  # a password
        config.logger.mlflow |= {"tracking_uri": where.partition("=")[2], "run_name": name}
    done: list[RetrainResult] = []
    failures: list[BaseException] = []

    def task(composed: DictConfig) -> None:
        directory = Path(HydraConfig.get().runtime.output_dir)
        try:
            result = run(composed, tags)
            assert not isinstance(result, Replicates)  # those are for studies only
            score = result[0] if isinstance(result, tuple) else result
            done.append(RetrainResult(directory, score))
        except BaseException as error:  # Hydra would print a line of its own
            remove_if_unused(directory)
            failures.append(error)

    task.__module__ = "harnest.cli.train"  # Hydra names the job after it, as it did the first time
    with tempfile.TemporaryDirectory() as folder:
        root = {
            "defaults": ["_self_", *({f"override hydra/{one}": "harnest"} for one in _HYDRA)],
            "hydra": {"searchpath": [f"file://{CONFIG_DIR}"]},
        }
        text = f"{OmegaConf.to_yaml(OmegaConf.create(root))}\n{OmegaConf.to_yaml(config)}"
        Path(folder, "again.yaml").write_text(text)
        arguments, sys.argv[1:] = sys.argv[1:], []  # ours, which are none of Hydra's
        try:
            hydra.main(folder, "again", execution_whitelist=trusted())(task)()
        finally:
            sys.argv[1:] = arguments
    if failures:
        raise failures[0]
    return done[0]
