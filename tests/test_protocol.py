"""What a score is worth: nothing where there is nothing to learn, and the same for all."""

import math

import hydra
import optuna
import pytest
import torch

from commands import command
from harnest.core.paths import CONFIG_DIR
from harnest.study.storage.optuna_storage import journal_address, open_storage
from harnest.training.components import assemble

SMALL = ("model=fcn", "model.hidden_size=16", "data.batch_size=128", "trainer=cpu", "logger=none")


def score(folder, labels):
    """Macro-F1 on validation subjects after two epochs with what ``labels`` makes of the labels."""
    overrides = [*SMALL, "callbacks=none", "trainer.max_epochs=2", "optimizer.lr=1e-2"]
    with hydra.initialize_config_dir(str(CONFIG_DIR)):
        cfg = hydra.compose("train", [*overrides, "trainer.enable_progress_bar=false"])
    parts = assemble(cfg, folder)
    given = torch.from_numpy(parts.data.windows.labels)
    parts.data.windows.labels[:] = labels(given)
    parts.trainer.fit(parts.module, datamodule=parts.data)
    torch.use_deterministic_algorithms(False)
    return float(parts.trainer.callback_metrics["val/macro_f1"])


@pytest.mark.filterwarnings("ignore:.*val_dataloader.*")
def test_with_shuffled_labels_the_score_is_chance(tmp_path):
    generator = torch.Generator().manual_seed(0)
    assert score(tmp_path, lambda given: given) > 0.4
    shuffled = score(tmp_path, lambda given: given[torch.randperm(len(given), generator=generator)])
    assert shuffled < 0.2  # one of seven is 0.14


@pytest.mark.slow
def test_on_real_folds_a_clearly_worse_trial_is_given_up(tmp_path):
    study = ("-m", "hydra.sweeper.study=f", "folds=8", "hydra/sweeper/pruner=wilcoxon")
    slots = ("hydra.launcher.cpu_slots=1", "trainer.max_epochs=2")
    answer = command("train", *study, *SMALL, *slots, "optimizer.lr=1e-2,1e-6", folder=tmp_path)
    assert answer.code == 0, answer
    storage = open_storage(journal_address(tmp_path / "multirun/f"))
    good, bad = optuna.load_study(study_name="f", storage=storage).trials
    assert good.state.name == "COMPLETE"
    assert math.isfinite(good.value)
    assert bad.state.name == "PRUNED"
    assert len(bad.intermediate_values) < 8
