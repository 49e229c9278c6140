"""Averaged weights: what is validated, kept, gone on with."""

import csv

import hydra
import pytest
import pytorch_lightning as L
import torch
from omegaconf import OmegaConf
from torch.optim import swa_utils

from commands import warm
from harnest.core.paths import CONFIG_DIR
from harnest.har.components import make_classifier, make_data
from harnest.training.components import assemble

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("averaging"),
    pytest.mark.filterwarnings("ignore:.*val_dataloader.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),  # between Lightning and torch
]

SMALL = (
    *("trainer=cpu", "model.hidden_size=8", "data.batch_size=128", "optimizer.lr=1e-2"),
    *("logger=csv", "scheduler=none", "trainer.max_epochs=4"),
)


# Ends a run after its second epoch, as an interrupt would, for no rate is better by so much.
STOPPED = (
    "+callbacks.stop._target_=pytorch_lightning.callbacks.EarlyStopping",
    *("+callbacks.stop.monitor=lr", "+callbacks.stop.patience=1", "+callbacks.stop.min_delta=10"),
    "+callbacks.stop.check_on_train_epoch_end=true",
)


def train(folder, *overrides):
    """Train in ``folder``, and return the run's directory."""
    folder.mkdir()
    answer = warm("train", *SMALL, *overrides, folder=folder)
    assert answer.code == 0, answer
    (directory,) = folder.glob("outputs/*/*")
    return directory


def epochs_of(directory, name):
    with (directory / "csv" / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def weights_in(directory, name="last", key="state_dict"):
    return torch.load(directory / "checkpoints" / f"{name}.ckpt", weights_only=True)[key]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same training without and with averaging."""
    folder = tmp_path_factory.mktemp("averaging")
    return {
        "none": train(folder / "none"),
        "ema": train(folder / "ema", "callbacks=ema"),
        "swa": train(folder / "swa", "callbacks=swa"),
    }


def test_training_itself_stays_as_it_was(runs):
    losses = [epochs_of(run, "train/loss") for run in runs.values()]
    assert losses[0] == losses[1] == losses[2]
    plain = weights_in(runs["none"])
    for name in ("ema", "swa"):
        current = weights_in(runs[name], key="current_model_state")
        assert all(torch.equal(current[key], value) for key, value in plain.items())


def test_averages_are_validated(runs):
    plain, ema, swa = (epochs_of(run, "val/loss") for run in runs.values())
    assert len(plain) == len(ema) == len(swa) == 4
    assert all(one != other for one, other in zip(plain, ema, strict=True))
    assert swa[:3] == plain[:3]  # the mean of one epoch's weights is that epoch's
    assert swa[3] != plain[3]


def test_swa_keeps_the_mean_of_the_last_epochs(runs, tmp_path):
    third = weights_in(train(tmp_path / "third", "trainer.max_epochs=3"))
    fourth = weights_in(runs["none"])
    for key, value in weights_in(runs["swa"]).items():
        torch.testing.assert_close(value, (third[key] + fourth[key]) / 2)


@pytest.mark.parametrize("choice", ["ema", "swa"])
def test_what_was_best_is_what_is_kept(runs, choice):
    cfg = OmegaConf.load(runs[choice] / ".hydra/config.yaml")
    data = make_data(cfg)
    classifier = make_classifier(cfg, data)
    classifier.load_state_dict(weights_in(runs[choice], "best"))
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    (values,) = trainer.validate(classifier, datamodule=data, verbose=False)
    assert values["val/macro_f1"] == max(epochs_of(runs[choice], "val/macro_f1"))


@pytest.mark.parametrize(
    "options",
    [
        ["callbacks=ema"],
        pytest.param(["callbacks=swa", "callbacks.averaging.start=0.25"], marks=pytest.mark.slow),
    ],
    ids=lambda options: options[0],
)
def test_a_run_goes_on_as_if_it_had_not_stopped(options, tmp_path):
    whole = train(tmp_path / "whole", *options)
    first = train(tmp_path / "first", *options, *STOPPED)
    last = first / "checkpoints/last.ckpt"
    second = train(tmp_path / "second", *options, f"resume={last}")
    for name in ("val/loss", "train/loss"):
        parts = [epochs_of(run, name) for run in (first, second)]
        assert len(parts[0]) == 2
        assert [*parts[0], *parts[1]] == epochs_of(whole, name)


@pytest.mark.parametrize("start", [-0.1, 1.0])
def test_a_start_that_is_no_share_is_refused(tmp_path, start):
    options = ("callbacks=swa", f"callbacks.averaging.start={start}")
    line = warm("train", *SMALL, *options, folder=tmp_path).line
    assert f"start={start} cannot be used" in line


@pytest.mark.usefixtures("as_before")
def test_swa_takes_batch_normalisation_where_a_gpu_averages(tmp_path, monkeypatch):
    """There need be no GPU: torch is told that its kernels for lists of tensors are here too."""
    monkeypatch.setattr(swa_utils, "_get_foreach_kernels_supported_devices", lambda: ["cpu"])
    quiet = ("logger=none", "callbacks.checkpoint=null", "trainer.enable_progress_bar=false")
    small = ("model=fcn", "model.hidden_size=8", "trainer.max_epochs=4")
    few = ("trainer.limit_train_batches=2", "trainer.limit_val_batches=1")
    with hydra.initialize_config_dir(str(CONFIG_DIR)):
        cfg = hydra.compose("train", ["trainer=cpu", "callbacks=swa", *quiet, *small, *few])
    parts = assemble(cfg, tmp_path)
    parts.trainer.fit(parts.module, datamodule=parts.data)
    state = parts.module.state_dict()
    counts = {int(state[name]) for name in state if name.endswith("num_batches_tracked")}
    assert counts == {7}  # the mean of 6 batches after the third epoch, and 8 after the last
