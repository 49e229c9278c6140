"""Folds and seeds as one trial, from the command line to the study's record."""

import re
import statistics

import optuna
import pytest
from omegaconf import OmegaConf

from commands import command
from harnest.study.storage.optuna_storage import journal_address, open_storage

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("divided")]

SMALL = ("trainer=cpu", "model.hidden_size=4", "data.batch_size=256", "trainer.max_epochs=1")


@pytest.fixture(scope="module")
def divided(tmp_path_factory):
    """A study of one trial: three folds, with two seeds each."""
    folder = tmp_path_factory.mktemp("divided")
    study = ("-m", "hydra.sweeper.study=f", "folds=3", "seeds=2", "logger=csv")
    answer = command("train", *study, *SMALL, folder=folder)
    assert answer.code == 0, answer
    return folder / "multirun/f", answer


def test_the_score_is_the_mean_of_folds_and_seeds(divided):
    folder, answer = divided
    names = sorted(path.name for path in (folder / "0").iterdir() if path.name.startswith("fold"))
    assert names == [f"fold-{fold}-seed-{seed}" for fold in range(3) for seed in range(2)]
    (trial,) = optuna.load_study(
        study_name="f", storage=open_storage(journal_address(folder))
    ).trials
    assert len(trial.intermediate_values) == 6
    assert trial.value == pytest.approx(statistics.fmean(trial.intermediate_values.values()))
    assert re.search(r"best: trial 0, val/macro_f1 0\.\d{4} ± 0\.\d{4}\n", answer.out)
    assert all((folder / "0" / name / "checkpoints/best.ckpt").is_file() for name in names)


def test_every_subject_but_those_of_the_test_is_held_out_once(divided):
    folder, _ = divided
    configs = [
        OmegaConf.load(folder / f"0/fold-{fold}-seed-0/.hydra/config.yaml") for fold in range(3)
    ]
    held_out = [subject for cfg in configs for subject in cfg.data.validation]
    assert len(held_out) == len(set(held_out)) == 8  # two of the ten are for testing
    tested = [list(cfg.data.test) for cfg in configs]
    assert tested == tested[:1] * 3
    assert sorted([*tested[0], *held_out]) == list(range(1, 11))
    assert all(cfg.folds is None and cfg.seeds == 1 for cfg in configs)


def test_the_trial_itself_trains_nothing(divided):
    folder, _ = divided
    assert not (folder / "0/checkpoints").exists()
    assert (folder / "0/.hydra/config.yaml").is_file()


def test_more_folds_than_subjects_fail_in_one_line(tmp_path):
    study = ("-m", "hydra.sweeper.study=f", "folds=9", "logger=none")
    line = command("train", *study, *SMALL, folder=tmp_path).err.splitlines()[-1]
    assert "folds=9: only 8 subjects" in line
