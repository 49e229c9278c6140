"""The configs: each choice composes, each key is explained, each limit belongs to a key."""

import copy
import re
from contextlib import nullcontext

import hydra
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from harnest.core import type_check
from harnest.core.errors import ConfigError
from harnest.core.paths import CONFIG_DIR
from harnest.core.trust import trusted
from harnest.har.limits import LIMITS as OF_HAR
from harnest.study.space.samplers import PRUNERS, make_pruner, make_sampler
from harnest.training import config
from harnest.training.limits import LIMITS, check_limits

FILES = sorted(CONFIG_DIR.rglob("*.yaml"))
GROUPS = sorted({path.parent.name for path in FILES if path.parent.parent == CONFIG_DIR})
CHOICES = [
    (group, path.stem)
    for group in GROUPS
    if group not in ("hydra", "sweep")
    for path in sorted((CONFIG_DIR / group).glob("*.yaml"))
]


def compose(*overrides, **options):
    with hydra.initialize_config_dir(str(CONFIG_DIR)):
        return hydra.compose("train", list(overrides), **options)


@pytest.fixture(scope="module")
def composed():
    return compose()


@pytest.fixture
def defaults(composed):
    """A config that the test may change."""
    return copy.deepcopy(composed)


def test_a_study_is_kept_where_the_environment_says(monkeypatch):
    address = "mysql+pymysql://me:s3cr3t@127.0.0.1/studies"
    sweeper = compose(return_hydra_config=True).hydra.sweeper
    assert sweeper.storage is None
    monkeypatch.setenv("STUDY_STORAGE", address)
    assert sweeper.storage == address
    assert "s3cr3t" not in OmegaConf.to_yaml(sweeper)
    given = compose("hydra.sweeper.storage=null", return_hydra_config=True)
    assert given.hydra.sweeper.storage is None


@pytest.mark.parametrize(
    ("given", "direction"),
    [
        ([], "maximize"),
        (["objective.metric=val/loss"], "minimize"),
        (["objective.metric=val/accuracy"], "maximize"),
        (["objective.metric=val/loss", "objective.mode=max"], "maximize"),
    ],
)
def test_a_loss_is_to_be_low(given, direction):
    cfg = compose(*given, return_hydra_config=True)
    assert cfg.hydra.sweeper.direction == [direction]
    assert cfg.callbacks.checkpoint.mode == cfg.objective.mode == direction.removesuffix("imize")


def test_the_groups_that_are_promised_are_there():
    assert set(GROUPS) >= {
        *("data", "model", "optimizer", "scheduler", "trainer", "callbacks", "logger"),
        *("experiment", "sweep", "debug"),
    }


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_each_choice_composes(group, choice, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # trainer=gpu is refused where there is none
    cfg = compose(f"{group}={choice}")
    GlobalHydra.instance().clear()
    OmegaConf.to_container(OmegaConf.masked_copy(cfg, ["seed", "model", "optimizer", "scheduler"]))
    check_limits(cfg, OF_HAR)


def test_trials_that_get_no_gpu_cannot_ask_for_one(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    slots = ("hydra/launcher=slots", "hydra.launcher.gpus=none")
    cfg = compose("trainer=gpu", *slots, return_hydra_config=True)
    with pytest.raises(ConfigError, match=r"launcher\.gpus=auto"):
        check_limits(cfg, OF_HAR)


@pytest.mark.parametrize("path", sorted((CONFIG_DIR / "sweep").glob("*.yaml")))
def test_each_sweep_composes_and_names_its_study(path):
    cfg = compose(f"sweep={path.stem}", return_hydra_config=True)
    assert cfg.hydra.sweeper.study == path.stem
    assert cfg.hydra.sweeper.n_trials >= 1
    assert cfg.hydra.sweeper.direction == ["maximize"]
    for key in cfg.hydra.sweeper.params:
        assert OmegaConf.select(cfg, key, throw_on_missing=True) is not None, key


def keys_of(node, prefix=""):
    """Every key of a YAML document with the line it stands on, and its mapping's key."""
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        name = f"{prefix}{key.value}"
        if key.value == "defaults" and not prefix:
            continue
        yield name, key.start_mark.line, value
        yield from keys_of(value, f"{name}.")


def unexplained(text):
    """The keys of a config file that no comment explains, on their line or right above.

    Keys that hold others, the searches of a sweep (each names the key that it searches), and what
    a data set hands on to its source (`${..archive}` has the name of the key beside it), need none
    of their own.
    """
    lines = text.splitlines()
    root = yaml.compose(text)
    found = []
    for name, number, value in keys_of(root):
        above = lines[number - 1].lstrip() if number else ""
        explained = (
            re.search(r"\s# \w", lines[number])
            or (above.startswith("# ") and "@package" not in above)
            or name.rpartition(".")[2].startswith("_")
            or isinstance(value, yaml.MappingNode)
            or ".params." in name
            or value.value == f"${{..{name.rpartition('.')[2]}}}"
        )
        if not explained:
            found.append(name)
    return found


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("# what it is\n_target_: a.B\nlr: 1  # rate\n", []),
        ("# what it is\n_target_: a.B\nlr: 1\n", ["lr"]),
        ("# @package _global_\nlr: 1\n", ["lr"]),
        (
            "hydra:\n  sweeper:\n    params:\n      lr: 1,2\n    n_trials: 3\n",
            ["hydra.sweeper.n_trials"],
        ),
        ("# a name that holds\n# two lines\nlr: 1\nmomentum: 2\n", ["momentum"]),
        ("model:\n  size: 1\n", ["model.size"]),
        ("color: '#fff'\n", ["color"]),
    ],
)
def test_a_key_without_a_comment_is_found(text, missing):
    assert unexplained(text) == missing


# What a logging config or a help page may say is another library's business.
OWN = [path for path in FILES if path.parent.name not in ("job_logging", "hydra_logging", "help")]


@pytest.mark.parametrize("path", OWN, ids=lambda path: str(path.relative_to(CONFIG_DIR)))
def test_every_key_says_what_it_means(path):
    text = path.read_text()
    assert re.search(r"^# (?!@package)", text, re.MULTILINE)
    assert not unexplained(text)


@pytest.mark.parametrize("key", [*LIMITS, *OF_HAR, *type_check.MIXED])
def test_each_limit_belongs_to_a_key(key, defaults):
    assert OmegaConf.select(defaults, key, default="missing") != "missing"


BEYOND = {
    "seed": [-1, 2**32, "x"],
    "threads": [0, 1.5],
    "folds": [1, "all", 2.5],
    "seeds": [0, 1.5],
    "resume": ["nowhere.ckpt", 3],
    "data.batch_size": [0, -4, 2.5],
    "data.window": [0, -1.0],
    "data.step": [0],
    "model.hidden_size": [0],
    "model.layers": [0],
    "model.dropout": [1.0, -0.1],
    "loss.label_smoothing": [1.0, -0.1],
    "optimizer.lr": [0, -1e-3],
    "optimizer.weight_decay": [-1e-3],
    "trainer.max_epochs": [0, -1, 1.5],
    "trainer.check_val_every_n_epoch": [0, 1.5],
    "trainer.limit_train_batches": [0, 0.0],
    "callbacks.early_stopping.monitor": ["val/f1", "lr"],
    "objective.metric": ["val/f1", "test/loss"],
    "objective.mode": ["up"],
    "objective.extra": [{"nosuch": "min"}, {"parameters": "less"}],
}


@pytest.mark.parametrize("key", [*LIMITS, *OF_HAR])
def test_each_limit_is_held(key, defaults):
    check_limits(defaults, OF_HAR)
    for value in BEYOND[key]:
        OmegaConf.update(defaults, key, value, merge=False)
        with pytest.raises(ConfigError, match=re.escape(f"{key}={value} cannot be used: it must")):
            check_limits(defaults, OF_HAR)


@pytest.mark.parametrize("debug", ["fast", "limit"])
def test_a_look_at_an_experiment_that_validates_seldom_validates(debug, tmp_path):
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\ntrainer: {check_val_every_n_epoch: 5}\n"
    (tmp_path / "experiment" / "seldom.yaml").write_text(text)
    outside = f"hydra.searchpath=[file://{tmp_path}]"
    check_limits(compose(outside, "experiment=seldom", f"debug={debug}"), OF_HAR)


@pytest.mark.parametrize("key", ["check_val_every_n_epoch=50", "limit_val_batches=0"])
def test_who_is_not_judged_by_validation_need_not_validate(key):
    check_limits(compose("objective.metric=train/loss", f"trainer.{key}"), OF_HAR)


def test_what_is_left_out_has_no_limit():
    check_limits(OmegaConf.create({"seed": 0, "threads": None, "model": {"depth": -1}}), OF_HAR)


def test_the_user_says_what_else_is_trusted(monkeypatch):
    assert not any(name.startswith(("mylab", "torch.*", "os")) for name in trusted())
    monkeypatch.setenv("HARNEST_TRUST", "mylab, other.models  third.*")
    assert set(trusted()) >= {"mylab.*", "other.models.*", "third.*", "harnest.*"}
    assert "other.models" in trusted()  # it may be a class


@pytest.mark.parametrize("name", ["*", "mylab*", "mylab.", "my-lab", "/home/me/mylab"])
def test_what_is_no_name_is_not_trusted(monkeypatch, name):
    monkeypatch.setenv("HARNEST_TRUST", f"harnest,{name}")
    with pytest.raises(ConfigError, match="give names of packages"):
        trusted()


@pytest.mark.parametrize("sweep", ["quick", "architectures"])
@pytest.mark.parametrize(
    ("part", "choice", "make"),
    [
        *(("sampler", name, make_sampler) for name in ("random", "cmaes", "gp", "qmc", "nsgaii")),
        *(("pruner", name, make_pruner) for name in sorted(PRUNERS) if name != "threshold"),
    ],
)
def test_a_sweep_takes_any_sampler_and_any_pruner(sweep, part, choice, make):
    """None is left with options of the one that the sweep would have chosen."""
    composed = compose(f"sweep={sweep}", f"hydra/sweeper/{part}={choice}", return_hydra_config=True)
    other = "pruner" if part == "sampler" else "sampler"
    assert make(composed.hydra.sweeper[part])
    assert composed.hydra.runtime.choices[f"hydra/sweeper/{other}"].endswith(f"_{sweep}")


@pytest.mark.parametrize(
    ("launcher", "overrides", "is_refused"),
    [
        ("slots", ["trainer.devices=auto"], False),  # a slot has one of them
        ("slots", ["trainer.devices=-1"], False),
        ("basic", ["trainer.devices=auto"], True),
        ("basic", ["trainer.devices=-1"], True),
        ("basic", ["trainer.devices=auto", "trainer.accelerator=cpu"], False),
        ("basic", ["trainer.devices='1'", "trainer.strategy=single_device"], False),
        ("basic", ["trainer.devices=[1]"], False),
    ],
)
def test_all_devices_of_a_trial_are_those_that_its_launcher_lets_it_see(
    monkeypatch, launcher, overrides, is_refused
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with hydra.initialize_config_dir(str(CONFIG_DIR)):
        chosen = [f"hydra/launcher={launcher}", *overrides]
        cfg = hydra.compose("train", chosen, return_hydra_config=True)
    with pytest.raises(ConfigError, match="one device") if is_refused else nullcontext():
        config.check_one_process(cfg)
