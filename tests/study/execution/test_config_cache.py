"""Configs of jobs that are made from one another: each is what Hydra makes of its files."""

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from harnest.core.paths import CONFIG_DIR
from harnest.study.execution.config_cache import ConfigCache


def told(number, *overrides):
    """As a session submits a job."""
    variables = {"HARNEST_TRIAL": number, "HARNEST_RECORDED_IN": f"/a b/{number}"}
    settings = [f"++hydra.job.env_set.{name}='{value}'" for name, value in variables.items()]
    return (*overrides, *settings, f"hydra.sweep.subdir={number}/part")


JOBS = (
    ("model.hidden_size=32", "optimizer.lr=0.001", "seed=3"),
    ("model.hidden_size=96", "optimizer.lr=2e-2", "seed=4"),
    ("model.hidden_size=96", "optimizer.lr=2e-2", "seed=4"),
    ("model=fcn", "optimizer.lr=0.1"),
    ("model=lstm", "optimizer.lr=0.2"),
    ("model=fcn", "optimizer.lr=0.3"),
    ("resume=null", "model.pooling=mean"),
    ("resume=/a/b.ckpt", "model.pooling='a b'"),
    ("resume=null", "model.pooling=${oc.env:HOME}"),
    ("augmentation=[jitter,light]", "seed=1"),
    ("augmentation=none", "seed=1"),
    ("objective.extra=[parameters]", "objective.extra=null"),
    ("objective.extra=null", "objective.extra=[parameters]"),
    ("~scheduler", "seed=2"),
    ("+other.key=3", "seed=5"),
    ("++seed=6", "model.layers=2"),
    ("hydra.job.chdir=true", "seed=7"),
    ("hydra.job.chdir=false", "seed=8"),
    ("optimizer@model.head=sgd", "seed=9"),
    *(told(number, "seed=1") for number in (1, 2)),
    *(told(number, "hydra.job.chdir=true") for number in (1, 2)),
    *(told(number, "hydra.job.env_set={A:1}") for number in (1, 2)),
    ("++hydra.job.env_set.A=[1]", "seed=1"),
    *((f"data.batch_size={size}", f"{'+' * (size % 2)}a{size}.b=1") for size in (1, 3, 5)),
)


@pytest.fixture
def composer():
    with hydra.initialize_config_dir(str(CONFIG_DIR)):
        # As a sweep settles the address of its study, which may hold a password.
        settled = "hydra.sweeper.storage='${oc.env:HOME}'"
        master = hydra.compose("train", [settled], return_hydra_config=True)
        yield ConfigCache(GlobalHydra.instance().config_loader(), master)


def same(composer, overrides):
    """What both make of overrides: a config, or an error."""
    made = []
    for compose in (composer.compose, composer._compose_with_hydra):
        try:
            config = compose(overrides)
            made.append((OmegaConf.to_container(config, resolve=False), None))
        except ConfigCompositionException as error:
            made.append((None, str(error)))
    return made


def test_each_is_what_hydra_makes_of_its_files(composer):
    for overrides in (*JOBS, *JOBS[:3]):
        ours, hydras = same(composer, overrides)
        assert ours == hydras, overrides


def test_what_a_session_tells_each_job_makes_no_config_anew(composer, monkeypatch):
    composer.compose(told(1, "optimizer.lr=0.1"))
    monkeypatch.setattr(composer, "_compose_with_hydra", None)
    assert composer.compose(told(2, "optimizer.lr=0.2")).hydra.job.env_set.HARNEST_TRIAL == "2"


def test_what_one_job_changes_in_its_config_no_other_sees(composer):
    first = composer.compose(JOBS[0])
    first.model.hidden_size = 1
    first.hydra.runtime.output_dir = "elsewhere"
    second = composer.compose(JOBS[0])
    assert second.model.hidden_size == 32
    assert OmegaConf.is_missing(second.hydra.runtime, "output_dir")


@pytest.mark.parametrize("wrong", ["model.nosuch=1", "trainer.nosuch.deep=1", "nosuch=1"])
def test_what_hydra_refuses_is_refused_in_its_words(composer, wrong):
    composer.compose(["seed=1"])
    ours, hydras = same(composer, ["seed=2", wrong])
    assert ours == hydras
    assert ours[1] is not None
