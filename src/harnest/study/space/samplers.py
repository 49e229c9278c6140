"""Samplers and pruners, made from their configs."""

import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from harnest.core.errors import StudyError

if TYPE_CHECKING:
    import optuna

#: Choices of ``hydra/sweeper/sampler`` that draw nothing: they try every combination.
COMPLETE = ("optuna.samplers.GridSampler", "optuna.samplers.BruteForceSampler")

#: Choices of ``hydra/sweeper/sampler`` beside those of hydra-optuna-sweeper.
SAMPLERS: dict[str, dict[str, Any]] = {"brute_force": {"_target_": COMPLETE[1], "seed": None}}

_TRUSTED = ("optuna.samplers.*", "optuna.pruners.*", "hydra_plugins.hydra_optuna_sweeper.*")

PRUNERS: dict[str, dict[str, Any]] = {
    "median": {
        "_target_": "optuna.pruners.MedianPruner",
        "n_startup_trials": 5,
        "n_warmup_steps": 0,
        "interval_steps": 1,
    },
    "percentile": {
        "_target_": "optuna.pruners.PercentilePruner",
        "percentile": 25.0,
        "n_startup_trials": 5,
        "n_warmup_steps": 0,
        "interval_steps": 1,
    },
    "hyperband": {
        "_target_": "optuna.pruners.HyperbandPruner",
        "min_resource": 1,
        "max_resource": "auto",
        "reduction_factor": 3,
    },
    "successive_halving": {
        "_target_": "optuna.pruners.SuccessiveHalvingPruner",
        "min_resource": "auto",
        "reduction_factor": 4,
        "min_early_stopping_rate": 0,
    },
    "threshold": {"_target_": "optuna.pruners.ThresholdPruner", "lower": None, "upper": None},
    # A score has to have got no better for some steps before the median counts.
    "patient": {
        "_target_": "optuna.pruners.PatientPruner",
        "wrapped_pruner": {
            "_target_": "optuna.pruners.MedianPruner",
            "n_startup_trials": 5,
            "n_warmup_steps": 0,
            "interval_steps": 1,
        },
        "patience": 3,
        "min_delta": 0.0,
    },
    # For trials whose steps are instances, such as folds, and whose score is their mean.
    "wilcoxon": {
        "_target_": "optuna.pruners.WilcoxonPruner",
        "p_threshold": 0.1,
        "n_startup_steps": 2,
    },
    "none": {"_target_": "optuna.pruners.NopPruner"},
}
"""The choices of ``hydra/sweeper/pruner``, with Optuna's defaults."""


def make_pruner(config: DictConfig | None) -> "optuna.pruners.BasePruner":
    """Make the configured pruner; without one, no trial is pruned."""
    import optuna

    if config is None:
        return optuna.pruners.NopPruner()
    pruner: optuna.pruners.BasePruner = _make("pruner", config)
    return pruner


def is_seeded(config: DictConfig | None) -> bool:
    """Whether the configured sampler is to draw the same each time."""
    return config is not None and config.get("seed") is not None


def make_sampler(config: DictConfig | None, number: int = 0) -> "optuna.samplers.BaseSampler":
    """Make the configured sampler for trial ``number``; without a config, Optuna's TPE.

    With a seed, each trial gets its own sampler, seeded by the study's seed and the trial's number.
    So a resumed study does not repeat its first draws, and draws of a sampler that does not learn
    do not depend on how many trials run at once.
    """
    import optuna
    from numpy.random import SeedSequence

    if config is None:
        return optuna.samplers.TPESampler()
    if config["_target_"].endswith("CmaEsSampler") and find_spec("cmaes") is None:
        raise StudyError(
            "hydra/sweeper/sampler=cmaes needs another package: pip install 'harnest[cmaes]'"
        )
    # Unset options are left to Optuna: some that the configs name are gone in Optuna 5.
    given = {str(key): value for key, value in config.items() if value is not None}
    if "seed" in given:
        seed = int(SeedSequence([given["seed"], number]).generate_state(1)[0])
        if given["_target_"].endswith("QMCSampler"):
            # One sequence for the whole study, selected by the seed. Conditional keys are not in
            # it.
            random = {"_target_": "optuna.samplers.RandomSampler", "seed": seed}
            given.setdefault("independent_sampler", random)
        else:
            given["seed"] = seed
    sampler: optuna.samplers.BaseSampler = _make("sampler", given)
    return sampler


def _make(part: str, config: Any) -> Any:
    import optuna

    try:
        with warnings.catch_warnings():
            # The user chose it by name.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return instantiate(config, _execution_whitelist_=_TRUSTED)
    except (TypeError, ValueError, ImportError) as error:
        first = str(error).strip().splitlines()[0]
        raise StudyError(f"hydra/sweeper/{part} cannot be used: {first}") from error
