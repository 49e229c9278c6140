"""Records a run in MLflow, whatever way it ends."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger

from harnest.core.failure import INTERRUPTED, Failure, failure_of
from harnest.core.secrets import redact
from harnest.tracking.outbox.operations import DatasetInfo
from harnest.tracking.provenance import environment_tags, source_tags
from harnest.tracking.run_writer import RECORDED_IN, RunWriter
from harnest.training.logger import MLflowLogger


@contextmanager
def record_run(
    loggers: Iterable[Logger],
    cfg: DictConfig,
    directory: Path,
    *,
    name: str,
    facts: Mapping[str, str],
    data_set: DatasetInfo | None,
) -> Iterator[Callable[..., None]]:
    """Record what happens inside the context in the MLflow runs of ``loggers``, and how it ends.

    The config, Hydra's overrides, checkpoints and logs become artifacts.

    Args:
        loggers: Those that are `MLflowLogger` are used.
        cfg: The config, which becomes parameters.
        directory: The run's directory.
        name: The run's name.
        facts: Further tags.
        data_set: The input of the run.

    Yields:
        A function that records the score, the number of epochs and, if one was saved, the best
        epoch with its metrics.
    """
    runs: list[RunWriter] = []

    def score(
        value: float, epochs: int, kept: tuple[int, Mapping[str, float]] | None = None
    ) -> None:
        for run in runs:
            run.score(value, epochs)
            if kept is not None:
                run.best_epoch(*kept)

    # Until something else is known: a second Ctrl-C may come before the first one is understood.
    failure: Failure | None = Failure(INTERRUPTED, "KeyboardInterrupt")
    try:
        for logger in loggers:
            if isinstance(logger, MLflowLogger):
                tags = {"directory": str(directory), **facts, **environment_tags()}
                if RECORDED_IN not in os.environ:  # else the study has said it
                    tags |= source_tags()
                logger.start(name, tags, directory)
                if logger.run is not None:  # processes of DDP but the first have none
                    runs.append(logger.run)
                logger.log_hyperparams(_parameters(cfg, directory))
        for run in runs:
            if data_set is not None:
                run.data_set(data_set)
            run.text(redact(OmegaConf.to_yaml(cfg, resolve=True)), "config.yaml")
            run.files([directory / ".hydra" / "overrides.yaml"])
        yield score
        failure = None
    except BaseException as error:
        failure = failure_of(error)
        raise
    finally:
        for run in runs:
            try:
                run.files(sorted(directory.glob("checkpoints/*.ckpt")), "checkpoints")
                run.files(sorted(directory.glob("*.log")))
            finally:
                run.end(failure)


def _parameters(cfg: DictConfig, directory: Path) -> dict[str, Any]:
    """The config without values that name a path in the run's directory.

    They differ in every run, and would come first where MLflow compares runs; ``config.yaml`` has
    them.
    """
    own = directory.absolute()

    def is_own(value: Any) -> bool:
        return isinstance(value, str) and Path(value).is_relative_to(own)

    def without(node: dict[Any, Any]) -> dict[str, Any]:
        return {
            str(key): without(value) if isinstance(value, dict) else value
            for key, value in node.items()
            if not is_own(value)
        }

    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    return without(plain)
