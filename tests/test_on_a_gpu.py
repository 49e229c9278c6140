"""What only a GPU can show: left out where there is none, as in CI."""

import math
import re

import hydra
import mlflow
import optuna
import pytest
import torch

from commands import command
from harnest.core.paths import CONFIG_DIR
from harnest.har.data import data_module
from harnest.training.components import assemble

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU"),
    pytest.mark.xdist_group("gpu"),
    pytest.mark.usefixtures("as_before"),
]

SMALL = ("trainer.max_epochs=2", "data.batch_size=256")
MODELS = sorted(file.stem for file in (CONFIG_DIR / "model").glob("*.yaml"))
AUGMENTATIONS = sorted(file.stem for file in (CONFIG_DIR / "augmentation").glob("*.yaml"))


@pytest.fixture
def scores(tmp_path):
    """Train for a few batches; gives what the last epoch logs."""

    def trained(*overrides):
        quiet = ("logger=none", "callbacks=none", "trainer.enable_progress_bar=false")
        short = ("trainer.limit_train_batches=3", "trainer.limit_val_batches=2")
        with hydra.initialize_config_dir(str(CONFIG_DIR)):
            cfg = hydra.compose("train", [*SMALL, *quiet, *short, *overrides])
        parts = assemble(cfg, tmp_path)
        parts.trainer.fit(parts.module, datamodule=parts.data)
        wanted = "cpu" if "trainer=cpu" in overrides else "cuda"
        assert parts.trainer.strategy.root_device.type == wanted
        return {name: float(value) for name, value in parts.trainer.callback_metrics.items()}

    return trained


@pytest.mark.parametrize("model", MODELS)
def test_every_network_trains_repeats_itself_and_takes_bf16(model, scores):
    first = scores(f"model={model}")
    assert scores(f"model={model}") == first
    half = scores(f"model={model}", "trainer.precision=bf16-mixed")
    assert half["val/loss"] == pytest.approx(first["val/loss"], rel=0.2)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_every_augmentation_repeats_itself(augmentation, scores):
    options = ("model.hidden_size=8", f"augmentation=[{augmentation}]", "tta.copies=1")
    assert scores(*options) == scores(*options)


@pytest.mark.parametrize(
    "averaging",
    ["pytorch_lightning.callbacks.EMAWeightAveraging", "harnest.training.callbacks.averaging.SWA"],
)
def test_weights_are_averaged_with_the_counts_of_batch_normalisation(averaging, scores):
    options = ("model=fcn", "trainer.max_epochs=4", f"+callbacks.averaging._target_={averaging}")
    assert math.isfinite(scores(*options)["val/loss"])


def test_a_graph_changes_no_score(scores):
    options = ("data.batch_size=64", "trainer.limit_train_batches=9", "model.dropout=0.0")
    assert scores(*options) == pytest.approx(scores(*options, "cuda_graph=false"), rel=1e-3)


def test_a_run_is_nearly_what_it_is_on_the_processor(scores):
    assert scores("trainer=gpu")["val/loss"] == pytest.approx(
        scores("trainer=cpu")["val/loss"], rel=1e-2
    )


def test_windows_that_the_card_has_no_room_for_come_from_main_memory(scores, monkeypatch, caplog):
    resident = scores("cuda_graph=false")
    monkeypatch.setattr(data_module, "_SHARE", 1e-9)
    caplog.set_level("INFO", "harnest")
    assert scores() == resident
    assert "the train windows stay in main memory" in caplog.text


def test_a_study_shares_the_card_and_outlives_who_fills_it(tmp_path):
    """Four trials at once; those of one network ask for more memory than any card has."""
    study = (
        "hydra.sweeper.study=s",
        "hydra.launcher.per_gpu=4",
        "hydra.sweeper.max_failure_rate=1",
    )
    options = ("trainer.max_epochs=2", "data.batch_size=100000")  # all windows at once
    searched = ("model.hidden_size=16,32,8000", "optimizer.lr=1e-3,1e-2")
    answer = command("train", "-m", *study, *options, *searched, folder=tmp_path)
    assert answer.code == 0, answer
    journal = optuna.storages.journal.JournalFileBackend(f"{tmp_path}/multirun/s/study.journal")
    trials = optuna.load_study(
        study_name="s", storage=optuna.storages.JournalStorage(journal)
    ).trials
    for trial in trials:
        is_huge = trial.params["model.hidden_size"] == 8000
        expected = ("FAIL", "oom") if is_huge else ("COMPLETE", None)
        assert (trial.state.name, trial.user_attrs.get("reason")) == expected
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    group = client.get_experiment_by_name("harnest").experiment_id
    runs = client.search_runs([group], "attributes.status = 'FINISHED'")
    tags = [run.data.tags for run in runs if "device" in run.data.tags]
    assert {one["device"] for one in tags} == {"cuda:0"}
    metrics = [run.data.metrics for run in runs if "device" in run.data.tags]
    assert all(one["system/gpu_memory_usage_megabytes"] > 0 for one in metrics)


def test_what_was_trained_on_a_card_is_tested_on_a_processor(tmp_path):
    answer = command("train", *SMALL, "trainer=gpu", folder=tmp_path)
    assert answer.code == 0, answer
    (run,) = tmp_path.glob("outputs/*/*")
    (best,) = run.rglob("best*.ckpt")
    without = {"CUDA_VISIBLE_DEVICES": ""}
    on_cpu = command("evaluate", str(run), "--checkpoint", str(best), folder=tmp_path, **without)
    on_gpu = command("evaluate", str(run), folder=tmp_path)
    assert (on_gpu.code, on_cpu.code) == (0, 0), (on_gpu, on_cpu)
    scores = [
        [float(number) for number in re.findall(r" ([\d.]+)$", answer.out, re.MULTILINE)]
        for answer in (on_gpu, on_cpu)
    ]
    assert len(scores[0]) == 3
    assert scores[0] == pytest.approx(scores[1], abs=0.01)


def test_a_packed_study_runs_on_a_card(tmp_path):
    options = ("hydra.sweeper.study=s", "hydra/launcher=packed", "optimizer.lr=1e-4,1e-3,1e-2,3e-2")
    answer = command("train", "-m", *SMALL, "trainer=gpu", *options, folder=tmp_path)
    assert answer.code == 0, answer
    facts = [tmp_path / "multirun" / "s" / str(number) for number in range(4)]
    assert all((one / ".hydra").is_dir() for one in facts)
