"""A Hydra application that is none of harnest's, which logs by MLflow's fluent API."""

from pathlib import Path

import hydra
import mlflow
from omegaconf import DictConfig

CONF = Path(__file__).with_name("conf")


def log(cfg: DictConfig) -> float:
    if cfg.text == "start":
        with mlflow.start_run():
            mlflow.log_metric("m", cfg.x)
        mlflow.log_metric("n", cfg.x)  # after the end of the run
    elif cfg.text == "experiment":
        mlflow.set_experiment("other")
        mlflow.log_metric("m", cfg.x)
    elif cfg.text == "nested":
        mlflow.log_metric("m", cfg.x)
        mlflow.start_run(nested=True, run_name="inner")
    else:
        mlflow.log_metric("m", cfg.x)
    return float(cfg.x)


if __name__ == "__main__":
    hydra.main(str(CONF), "app", execution_whitelist=("harnest.*",), version_base=None)(log)()
