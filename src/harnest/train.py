"""Entry: a config in, a score out."""

import logging
from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig

from harnest.cli import run_hydra
from harnest.config import check_limits

log = logging.getLogger(__name__)


def train(cfg: DictConfig, tags: Mapping[str, str] | None = None) -> float:
    """Train once and return the score: the best ``cfg.objective`` that an epoch reached.

    The run's record gets the further ``tags``.

    Inside a study each epoch's objective is reported, and the pruner may stop the run. Raises
    `HarnestError` for what the user can mend, KeyboardInterrupt when interrupted.
    """
    check_limits(cfg)
    # torch, Lightning and MLflow are imported only now, when the config can be used.
    from hydra.core.hydra_config import HydraConfig

    from harnest.assemble import assemble
    from harnest.fit import check_checkpoint, facts_of, fit, run_name, score_of
    from harnest.study import current_trial
    from harnest.tracking.recorded import recorded

    directory = Path(HydraConfig.get().runtime.output_dir)
    parts = assemble(cfg, directory, current_trial())
    if cfg.resume is not None:
        check_checkpoint(parts.classifier, Path(cfg.resume))
    facts = facts_of(cfg, parts) | dict(tags or {})
    with recorded(parts.trainer.loggers, cfg, directory, name=run_name(cfg), facts=facts) as record:
        fit(parts, cfg.resume)
        score = score_of(parts, cfg.objective.metric)
        record(score, parts.trainer.current_epoch)
    if parts.trainer.is_global_zero:
        log.info("%s = %.4f, in %s", cfg.objective.metric, score, directory)
    return score


def main() -> None:
    """``harnest-train``."""
    run_hydra(train, config_name="train", check=check_limits)


if __name__ == "__main__":
    main()
