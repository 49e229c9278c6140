"""From the first batch to the last word: what a run's record holds, whatever its end."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger

from harnest.failure import failure_of
from harnest.secrets import redact
from harnest.tracking.logger import MLflowLogger
from harnest.tracking.provenance import provenance


@contextmanager
def recorded(
    loggers: Iterable[Logger],
    cfg: DictConfig,
    directory: Path,
    *,
    name: str,
    facts: Mapping[str, str],
) -> Iterator[None]:
    """Record what happens inside in the MLflow runs of ``loggers``, and how it ends.

    ``facts`` become tags, beside the run's provenance. The config, Hydra's overrides, the
    checkpoints and the log in ``directory`` become artifacts.
    """
    runs = [logger for logger in loggers if isinstance(logger, MLflowLogger)]
    if not runs:
        yield
        return
    tags = {"directory": str(directory), **facts, **provenance()}
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    for logger in runs:
        logger.start(name, tags)
        logger.log_hyperparams(_text_keys(config))
        if logger.run is not None:
            logger.run.text(redact(OmegaConf.to_yaml(cfg, resolve=True)), "config.yaml")
            logger.run.files([directory / ".hydra" / "overrides.yaml"])
    failure = None
    try:
        yield
    except BaseException as error:
        failure = failure_of(error)
        raise
    finally:
        for logger in runs:
            if logger.run is not None:
                logger.run.files(sorted(directory.glob("checkpoints/*.ckpt")), "checkpoints")
                logger.run.files(sorted(directory.glob("*.log")))
                logger.run.end(failure)


def _text_keys(config: dict[Any, Any]) -> dict[str, Any]:
    return {str(key): value for key, value in config.items()}
