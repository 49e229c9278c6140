"""Half precision: used where the CPU computes it, refused before training where it does not."""

import platform
import re
import shutil
from functools import partial
from pathlib import Path

import hydra
import pytest
import pytorch_lightning as L
import torch
from torch import nn

from commands import command, warm
from harnest.core.paths import CONFIG_DIR
from harnest.har.evaluation import evaluate
from harnest.har.networks.fcn import FCN
from harnest.har.networks.gru import GRU
from harnest.har.networks.lstm import LSTM
from harnest.training.components import assemble
from harnest.training.config import is_half_precision_here
from harnest.training.fit import run_tags
from harnest.training.precision import precision_error

pytestmark = [pytest.mark.half_precision, pytest.mark.usefixtures("as_before")]

SMALL = ("debug=fast", "trainer=cpu", "model.hidden_size=4", "logger=none")

#: As on a CPU without AVX-512, on which torch has no LSTM in half precision.
AS_AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
only_x86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN's instructions are those of x86"
)


def compose(*overrides):
    common = ["callbacks=none", "trainer.enable_progress_bar=false"]
    with hydra.initialize_config_dir(str(CONFIG_DIR)):
        return hydra.compose("train", [*common, *SMALL, *overrides])


def torch_has_an_lstm():
    """Whether torch trains an LSTM under autocast here, without any code of ours."""
    lstm = nn.LSTM(6, 4, batch_first=True)
    try:
        with torch.autocast("cpu", torch.bfloat16):
            outputs, _ = lstm(torch.randn(2, 8, 6))
        outputs.float().sum().backward()
    except RuntimeError:
        return False
    return True


def test_an_lstm_is_trained_where_torch_trains_one_and_else_refused(tmp_path):
    answer = warm("train", *SMALL, "trainer.precision=bf16-mixed", folder=tmp_path)
    if torch_has_an_lstm():
        assert answer.code == 0, answer
    else:
        assert "trainer.precision=bf16-mixed cannot be used" in answer.line
        assert not list(tmp_path.iterdir())


@only_x86
@pytest.mark.parametrize(
    "options",
    [
        ["trainer.precision=bf16-mixed"],
        ["trainer.precision=16-mixed"],
        ["-m", "trainer.precision=bf16-mixed", "seed=0,1"],
        ["-m", "trainer.precision=16-mixed", "model=gru,lstm"],
        ["-m", "trainer.precision=32-true,bf16-mixed", "hydra/launcher=packed"],
    ],
    ids=" ".join,
)
def test_what_the_cpu_cannot_compute_is_refused_before_it_is_trained(tmp_path, options):
    line = command("train", *SMALL, *options, folder=tmp_path, **AS_AVX2).line
    assert re.match(r"trainer\.precision=(bf)?16-mixed cannot be used", line)
    assert "LSTM" in line
    assert line.endswith("choose trainer.precision=32-true")
    assert not list(tmp_path.iterdir())


@only_x86
@pytest.mark.parametrize(
    "options",
    [
        ["trainer.precision=16-mixed", "model=gru"],
        ["-m", "trainer.precision=bf16-mixed", "model=gru", "seed=0,1"],
    ],
    ids=" ".join,
)
def test_other_networks_are_trained_on_such_a_cpu(tmp_path, options):
    answer = command("train", *SMALL, *options, folder=tmp_path, **AS_AVX2)
    assert answer.code == 0, answer
    is_replaced = "trainer.precision=16-mixed: on a CPU, bf16-mixed is used instead" in answer.err
    assert is_replaced == ("trainer.precision=16-mixed" in options)


@only_x86
def test_auto_takes_what_such_a_cpu_computes(tmp_path):
    options = (*SMALL, "trainer.precision=auto")
    answer = command("train", *options, folder=tmp_path, **AS_AVX2)
    assert answer.code == 0, answer


@pytest.mark.parametrize("has_it", [True, False])
def test_auto_is_bfloat16_where_hardware_multiplies_it(tmp_path, monkeypatch, has_it):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_it)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    parts = assemble(compose("trainer.precision=auto"), tmp_path)
    wanted = "bf16-mixed" if has_it and torch_has_an_lstm() else "32-true"
    assert parts.trainer.precision == wanted
    assert run_tags(compose(), parts)["precision"] == wanted


def test_a_trial_on_another_machine_is_not_judged_by_this_one():
    def judged(*overrides):
        with hydra.initialize_config_dir(str(CONFIG_DIR)):
            options = [*SMALL, "trainer.precision=bf16-mixed", *overrides]
            cfg = hydra.compose("train", options, return_hydra_config=True)
        return is_half_precision_here(cfg)

    assert judged()
    assert judged("hydra/launcher=packed")
    assert judged("trainer=auto", "hydra.launcher.gpus=none")
    assert not judged("hydra/launcher=slurm")
    assert not judged("trainer.precision=32-true")
    assert not judged("trainer.precision=auto")
    assert not judged("trainer=gpu")


class Exact(nn.Module):
    """Cannot compute under autocast; ``broken``: at all. It draws random numbers."""

    def __init__(self, channels, classes, broken=False, **_):
        super().__init__()
        self.head = nn.Linear(channels, classes)
        self.norm = nn.BatchNorm1d(classes)
        self.broken = broken

    def forward(self, x):
        torch.rand(1)
        if self.broken or torch.is_autocast_enabled("cpu"):
            raise NotImplementedError("no kernel for this. Ask its author\nor somebody else")
        return self.norm(self.head(x.mean(dim=1)))


@pytest.mark.parametrize("many", [[], ["-m", "seed=0,1"]], ids=["run", "sweep"])
def test_anybody_s_network_is_tried(tmp_path, many):
    place = tmp_path / "place"
    place.mkdir()
    shutil.copy(__file__, tmp_path / "exact.py")
    support = Path(__file__).parents[1] / "support"
    theirs = {"PYTHONPATH": f"{tmp_path}:{support}", "HARNEST_TRUST": "exact"}
    options = (*SMALL, "model._target_=exact.Exact", "trainer.precision=bf16-mixed", *many)
    line = warm("train", *options, folder=place, **theirs).line
    assert "this CPU does not compute Exact in it (no kernel for this); choose" in line
    assert not list(place.iterdir())


def trainer_of(precision):
    return L.Trainer(
        accelerator="cpu", precision=precision, logger=False, enable_checkpointing=False
    )


def test_a_network_that_fails_anyway_tells_nothing_about_the_precision():
    windows = torch.randn(2, 8, 3)
    assert precision_error(trainer_of("bf16-mixed"), Exact(3, 2), windows) == "no kernel for this"
    assert precision_error(trainer_of("bf16-true"), Exact(3, 2), windows) is None
    assert precision_error(trainer_of("bf16-mixed"), Exact(3, 2, broken=True), windows) is None


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "32-true"])
@pytest.mark.parametrize("make", [Exact, FCN, partial(GRU, dropout=0.5), partial(LSTM, layers=2)])
def test_trying_leaves_a_network_and_what_is_random_as_they_were(make, precision):
    network = make(3, 2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    precision_error(trainer_of(precision), network, torch.ones(2, 8, 3))
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training
    assert all(weight.grad is None for weight in network.parameters())
    for name, value in network.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])


def test_a_test_in_what_this_cpu_does_not_compute_is_done_in_float32(tmp_path, caplog):
    cfg = compose()
    file = tmp_path / "first.ckpt"
    torch.save({"state_dict": assemble(cfg, tmp_path).module.state_dict()}, file)
    scores = evaluate(cfg, file)
    assert not caplog.records
    half = evaluate(compose("trainer.precision=bf16-mixed"), file)
    if torch_has_an_lstm():
        assert not caplog.records
        assert half["test/loss"] == pytest.approx(scores["test/loss"], rel=0.02)
    else:
        assert half == scores
        (record,) = caplog.records
        assert "does not compute LSTM in bf16-mixed" in record.getMessage()
