"""Runs begun without a command line: the same configs, scores and records."""

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from commands import warm
from harnest.core.errors import ConfigError
from harnest.training.interactive import compose, start_run
from harnest.training.run import run

SMALL = ("trainer=cpu", "model.hidden_size=8", "data.batch_size=128", "trainer.max_epochs=2")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    HydraConfig.instance().cfg = None


@pytest.mark.xdist_group("workplace")
def test_a_run_is_what_the_command_makes_of_it(folder, workplace):
    cfg, directory = start_run(*SMALL, "optimizer.lr=3e-3")
    assert directory.parts[:-2] == (folder / "outputs").parts
    theirs = workplace.run
    for name in ("config.yaml", "overrides.yaml"):
        one, other = (OmegaConf.load(place / ".hydra" / name) for place in (directory, theirs))
        assert one == other
    score = run(cfg)
    assert (directory / "checkpoints" / "best.ckpt").is_file()
    evaluated = warm("evaluate", str(directory), folder=folder)
    assert "test/macro_f1" in evaluated.out
    repeated = warm("rerun", str(directory), folder=folder)
    assert f"score {score:.6f}, the same as recorded" in repeated.out


def test_the_directory_is_where_it_is_however_it_was_named(folder):
    _, directory = start_run("debug=fast", "hydra.run.dir=outputs/../elsewhere")
    assert directory == folder / "elsewhere"


def test_to_compose_writes_nothing(folder):
    cfg = compose("model=gru", "model.layers=2")
    assert cfg.model._target_ == "harnest.har.networks.gru.GRU"
    assert cfg.model.layers == 2
    assert "hydra" not in cfg
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("model=lsmt", "did you mean lstm"),
        ("model.hiden_size=3", "did you mean model.hidden_size"),
        ("optimizer.lr=-1", "must be above 0"),
        ("nothing", "missing EQUAL"),
    ],
)
def test_what_cannot_be_used_is_told_in_a_line(folder, override, told):
    for function in (compose, start_run):
        with pytest.raises(ConfigError, match=told) as caught:
            function(override)
        assert "\n" not in str(caught.value)
    assert list(folder.iterdir()) == []


def test_a_password_is_not_written_down(folder):
    start_run("logger.mlflow.tracking_uri=http://me:hunter2@127.0.0.1:1")
    for file in folder.rglob("*.yaml"):
        assert "hunter2" not in file.read_text()
