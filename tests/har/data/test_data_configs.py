from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from harnest.har.data.source import Source

GROUP = Path(__file__).parents[3] / "conf" / "data"
CONFIGS = sorted(GROUP.glob("*.yaml"))
OWN = {"name", "source", "window", "step", "test", "validation"}
OWN |= {"split_seed", "batch_size", "cache"}


def built(config):
    return instantiate(config, _execution_whitelist_=["harnest.har.data.sources.*"])


def composed(name, **overrides):
    """The group under its key, as Hydra places it."""
    return OmegaConf.create({"data": OmegaConf.load(GROUP / f"{name}.yaml") | overrides}).data


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_data_set_has_the_same_keys_and_its_source(path):
    config = composed(path.stem)
    assert set(config) >= OWN
    assert config.name == path.stem
    source = built(config.source)
    assert isinstance(source, Source)
    assert source.name == path.stem


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_key_has_a_comment(path):
    lines = [line for line in path.read_text().splitlines() if line and line[0] not in " #"]
    assert len(lines) >= len(OWN)
    assert [line for line in lines if " # " not in line] == []


def test_options_given_to_the_group_reach_the_source(tmp_path):
    config = composed("hapt", archive="some.zip", activities=12, gravity=True)
    source = built(config.source)
    assert (source.archive, source.root) == ("some.zip", None)
    assert (source.activities, source.gravity) == (12, True)
    assert built(composed("uci_har", root="here").source).root == "here"
