"""Every sampler and every pruner that can be chosen."""

from importlib.util import find_spec

import optuna
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from foreign_app import CONF
from harnest.core.errors import StudyError
from harnest.study.space.samplers import PRUNERS, make_pruner, make_sampler
from harnest.study.space.search_space import SearchSpace

Plugins.instance()  # registers the choices

SAMPLERS = {
    "tpe": optuna.samplers.TPESampler,
    "random": optuna.samplers.RandomSampler,
    "nsgaii": optuna.samplers.NSGAIISampler,
    "nsgaiii": optuna.samplers.NSGAIIISampler,
    "gp": optuna.samplers.GPSampler,
    "qmc": optuna.samplers.QMCSampler,
}

#: Choices that draw no samples: two that try every combination, and some that are told of.
OTHERS = {"grid", "brute_force", "cmaes", "motpe"}


def choices(group):
    return {name.removesuffix(".yaml") for name in ConfigStore.instance().list(group)}


def composed(*overrides):
    with initialize_config_dir(str(CONF)):
        cfg = compose("app", list(overrides), return_hydra_config=True)
    return cfg.hydra.sweeper


def test_every_choice_is_tested_here():
    assert choices("hydra/sweeper/sampler") == set(SAMPLERS) | OTHERS
    assert choices("hydra/sweeper/pruner") == set(PRUNERS)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_composes_and_can_be_made(name):
    config = composed(f"hydra/sweeper/sampler={name}").sampler
    assert type(make_sampler(config)) is SAMPLERS[name]
    assert config_of(name, 4).seed == 4


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - {"gp"}))
def test_a_sampler_drives_a_study_over_sessions(bench, name):
    command = (
        "x=interval(0.5,2)",
        "n=range(1,9,2)",
        "network=small,large",
        f"hydra/sweeper/sampler={name}",
        "hydra.sweeper.sampler.seed=2",
    )
    bench.sweep(*command, "hydra.sweeper.n_trials=2")
    bench.sweep(*command, "hydra.sweeper.n_trials=4")
    trials = bench.trials()
    assert bench.states() == ["COMPLETE"] * 4
    assert {trial.params["n"] for trial in trials} <= {1, 3, 5, 7}
    assert len({tuple(trial.params.items()) for trial in trials}) > 1


@pytest.mark.parametrize("name", ["grid", "brute_force"])
def test_a_sampler_that_tries_everything_is_a_grid(bench, name):
    bench.sweep("x=1,2", "n=3,4", f"hydra/sweeper/sampler={name}")
    assert [tuple(trial.params.values()) for trial in bench.trials()] == [
        (1, 3),
        (1, 4),
        (2, 3),
        (2, 4),
    ]


def test_a_sampler_that_cannot_be_used_is_told_of(bench):
    told = bench.sweep("x=interval(0,1)", "hydra/sweeper/sampler=motpe", code=2)
    assert "removed in Optuna 4.0" in told.err
    assert list(bench.folder.iterdir()) in ([], [bench.folder / "multirun"])


@pytest.mark.parametrize("name", PRUNERS)
def test_every_pruner_composes_and_prunes(bench, name):
    limits = {"threshold": ("hydra.sweeper.pruner.upper=50",)}.get(name, ())
    made = make_pruner(composed(f"hydra/sweeper/pruner={name}", *limits).pruner)
    assert type(made).__name__ == PRUNERS[name]["_target_"].rpartition(".")[2]
    eager = {
        "median": ("hydra.sweeper.pruner.n_startup_trials=1",),
        "percentile": ("hydra.sweeper.pruner.n_startup_trials=1",),
        "patient": ("hydra.sweeper.pruner.wrapped_pruner.n_startup_trials=1", "do=worsen"),
    }.get(name, ())
    bench.sweep("x=1,2,30", "steps=6", f"hydra/sweeper/pruner={name}", *limits, *eager)
    assert bench.states()[0] == "COMPLETE"
    if name not in ("none", "hyperband", "successive_halving"):  # those need more trials
        assert bench.states()[2] == "PRUNED"


def test_no_config_means_no_pruning_and_tpe():
    assert isinstance(make_pruner(None), optuna.pruners.NopPruner)
    assert isinstance(make_sampler(None), optuna.samplers.TPESampler)


def test_only_samplers_and_pruners_can_be_made():
    with pytest.raises(Exception, match=r"(?i)whitelist|allow|trust"):
        make_pruner({"_target_": "os.getcwd"})


def drawn(seed, number):
    study = optuna.create_study(sampler=make_sampler(config_of("random", seed), number))
    return study.ask({"x": optuna.distributions.FloatDistribution(0, 1)}).params["x"]


@pytest.mark.parametrize("name", ["qmc", "random", "tpe", "nsgaii"])
def test_a_seeded_sampler_draws_another_value_each_time_also_under_a_condition(name):
    conditions = {"n=1": {"y": "interval(0.0,1.0)"}, "n=2": {"z": "interval(0.0,1.0)"}}
    space = SearchSpace.parse(["n=1,2", "x=interval(0.0,1.0)"], conditions=conditions)
    study = optuna.create_study()
    for number in range(8):
        study.sampler = make_sampler(config_of(name, 0), number)
        trial = study.ask()
        space.draw(trial)
        study.tell(trial, 1.0)
    for key in ("x", "y", "z"):
        drawn = [trial.params[key] for trial in study.trials if key in trial.params]
        assert len(set(drawn)) == len(drawn) > 1


def config_of(name, seed):
    return composed(f"hydra/sweeper/sampler={name}", f"hydra.sweeper.sampler.seed={seed}").sampler


def test_seeded_draws_depend_on_seed_and_number_alone():
    assert drawn(1, 5) == drawn(1, 5)
    assert len({drawn(1, 5), drawn(1, 6), drawn(2, 5), drawn(2, 6)}) == 4


def test_a_missing_package_is_named():
    config = composed("hydra/sweeper/sampler=cmaes").sampler
    if find_spec("cmaes") is not None:
        assert isinstance(make_sampler(config), optuna.samplers.CmaEsSampler)
        return
    with pytest.raises(StudyError, match="cmaes"):
        make_sampler(config)
