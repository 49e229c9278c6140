"""What a trial that Lightning trains tells its study, and when the study stops it."""

import optuna
import pytest
import pytorch_lightning as L

from harnest.study.storage.optuna_storage import journal_address, open_storage
from harnest.study.trial import Trial
from harnest.training.callbacks.pruning import PruningCallback

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*")


class Counting(L.LightningModule):
    """Learns nothing; its metrics say which epoch, and which validation, they come from."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.validations = 0

    def training_step(self, batch, batch_idx):
        pass

    def validation_step(self, batch, batch_idx):
        pass

    def on_train_epoch_end(self):
        self.log("train/loss", float(self.current_epoch))

    def on_validation_epoch_end(self):
        self.log("val/loss", float(self.validations))
        self.log("judged", float(self.validations))
        self.validations += 1

    def configure_optimizers(self):
        pass


@pytest.fixture
def trained(tmp_path):
    """Train as a trial that is pruned above a loss of 1.5; gives Optuna's trial, and the epochs."""

    def train(metric, *, validates=True, resume=None, **options):
        storage = open_storage(journal_address(tmp_path))
        study = optuna.create_study(study_name="s", storage=storage, load_if_exists=True)
        number = study.ask().number
        pruner = optuna.pruners.ThresholdPruner(upper=1.5)
        trial = Trial("s", number, journal_address(tmp_path), pruner)
        trainer = L.Trainer(
            **{"max_epochs": 6, "num_sanity_val_steps": 0} | options,
            accelerator="cpu",
            callbacks=[PruningCallback(trial, metric)],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(Counting(), range(4), range(1) if validates else None, ckpt_path=resume)
        trainer.save_checkpoint(tmp_path / f"{number}.ckpt")
        return study.trials[number], trainer.current_epoch

    return train


@pytest.mark.parametrize(
    ("metric", "validates"), [("val/loss", True), ("train/loss", True), ("train/loss", False)]
)
def test_each_epochs_own_value_is_reported_and_ends_the_trial_at_once(trained, metric, validates):
    trial, epochs = trained(metric, validates=validates)
    assert trial.intermediate_values == {0: 0.0, 1: 1.0, 2: 2.0}
    assert trial.user_attrs["pruned_at"] == 2
    assert epochs == 3


@pytest.mark.parametrize("metric", ["val/loss", "train/loss"])
def test_after_its_last_epoch_no_trial_is_pruned(trained, metric):
    trial, _ = trained(metric, max_epochs=3)
    assert trial.intermediate_values == {0: 0.0, 1: 1.0, 2: 2.0}
    assert "pruned_at" not in trial.user_attrs


def test_what_the_untrained_network_scores_is_not_reported(trained):
    """Its validation is number 0."""
    trial, _ = trained("val/loss", num_sanity_val_steps=1, max_epochs=1)
    assert trial.intermediate_values == {0: 1.0}


def test_of_several_validations_in_an_epoch_the_last_one_counts(trained):
    trial, _ = trained("val/loss", val_check_interval=0.5, max_epochs=2)
    assert trial.intermediate_values == {0: 1.0, 1: 3.0}


@pytest.mark.parametrize("metric", ["val/loss", "judged"])
def test_an_epoch_without_validation_reports_no_earlier_epochs_score(trained, metric):
    trial, _ = trained(metric, check_val_every_n_epoch=2, max_epochs=5)
    assert trial.intermediate_values == {1: 0.0, 3: 1.0}


def test_a_trial_that_goes_on_reports_what_was_before(trained, tmp_path):
    trained("train/loss", max_epochs=1)
    trial, _ = trained("train/loss", max_epochs=2, resume=tmp_path / "0.ckpt")
    assert trial.intermediate_values == {0: 0.0, 1: 1.0}


def test_a_metric_that_no_epoch_logs_is_warned_of(trained):
    with pytest.warns(UserWarning, match=r"val/f1 is not reported .*train/loss"):
        trial, epochs = trained("val/f1", max_epochs=2)
    assert trial.intermediate_values == {}
    assert epochs == 2


def test_outside_a_study_it_does_nothing(tmp_path):
    trainer = L.Trainer(
        max_epochs=2,
        accelerator="cpu",
        callbacks=[PruningCallback(None, "val/loss")],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(Counting(), range(4), range(1))
    assert trainer.current_epoch == 2
