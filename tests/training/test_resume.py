"""Runs that go on from the last checkpoint of another."""

import pytest
import torch

from commands import epochs_of, score_in, warm

pytestmark = pytest.mark.xdist_group("going on")

SMALL = (
    *("trainer=cpu", "model.hidden_size=8", "data.batch_size=128", "optimizer.lr=1e-2"),
    *("logger=csv", "model.dropout=0.3"),
)
PLATEAU = ("scheduler=plateau", "scheduler.patience=0", "+scheduler.threshold=1")


def train(folder, *overrides):
    """Train in ``folder``; what was answered, and the run's directory."""
    folder.mkdir(exist_ok=True)
    answer = warm("train", *SMALL, *overrides, folder=folder)
    assert answer.code == 0, answer
    (directory,) = folder.glob("outputs/*/*")
    return answer, directory


def checkpoint_in(directory, name):
    return torch.load(directory / f"checkpoints/{name}.ckpt", weights_only=True)


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        (("scheduler=step", "scheduler.step_size=2"), [1e-2, 1e-2, 3e-3, 3e-3]),
        (PLATEAU, [1e-2, 1e-2, 3e-3, 9e-4]),
        ((*PLATEAU, "trainer.check_val_every_n_epoch=2"), [1e-2, 1e-2, 1e-2, 1e-2]),
        (("scheduler=none", "+trainer.val_check_interval=0.5"), [1e-2, 1e-2, 1e-2, 1e-2]),
    ],
    ids=["steps", "a plateau", "validated every other epoch", "validated within epochs"],
)
def test_a_run_goes_on_as_if_it_had_not_stopped(tmp_path, options, rates):
    straight, whole = train(tmp_path / "whole", *options, "trainer.max_epochs=4")
    _, first = train(tmp_path / "first", *options, "trainer.max_epochs=2")
    last = f"resume={first}/checkpoints/last.ckpt"
    rest, second = train(tmp_path / "second", *options, "trainer.max_epochs=4", last)
    parts = [epochs_of(directory) for directory in (first, second)]
    assert [len(part) for part in parts] == [2, 2]
    assert [*parts[0], *parts[1]] == epochs_of(whole)
    assert [epoch["lr"] for epoch in epochs_of(whole)] == pytest.approx(rates)
    assert score_in(rest) == score_in(straight)
    assert rest.err.count("\n") == 1


def test_a_longer_run_ends_its_schedule_later(tmp_path):
    _, first = train(tmp_path / "first", "trainer.max_epochs=2")
    last = f"resume={first}/checkpoints/last.ckpt"
    _, second = train(tmp_path / "second", "trainer.max_epochs=4", last)
    assert [epoch["lr"] for epoch in epochs_of(first)] == pytest.approx([1e-2, 5e-3])
    half_a_cosine = [5e-3, (1 - 2**-0.5) / 2 * 1e-2]
    assert [epoch["lr"] for epoch in epochs_of(second)] == pytest.approx(half_a_cosine)


@pytest.mark.parametrize("is_moved", [False, True], ids=["there", "moved"])
def test_the_best_epoch_before_a_stop_is_not_forgotten(tmp_path, is_moved):
    """With a rate that unlearns everything after going on, the score is that of before."""
    unlearning = ("scheduler=step", "scheduler.step_size=2", "scheduler.gamma=1e5")
    before, first = train(tmp_path / "first", *unlearning, "trainer.max_epochs=2")
    if is_moved:
        first = first.rename(tmp_path / "kept")
    last = f"resume={first}/checkpoints/last.ckpt"
    after, second = train(tmp_path / "second", *unlearning, "trainer.max_epochs=3", last)
    assert score_in(after) == score_in(before)
    for directory in (first, second):
        assert checkpoint_in(directory, "best")["epoch"] < 2


@pytest.mark.parametrize("every", [1, 2], ids="validated after {} epochs".format)
def test_the_latest_epoch_is_kept_although_it_was_worse(tmp_path, every):
    worse = ("objective.metric=val/loss", "objective.mode=max")  # which training makes ever worse
    checks = (f"trainer.check_val_every_n_epoch={every}", f"trainer.max_epochs={3 * every}")
    _, directory = train(tmp_path, *worse, *checks)
    epochs = [checkpoint_in(directory, name)["epoch"] for name in ("best", "last")]
    assert epochs == [every - 1, 3 * every - 1]


def test_a_run_that_lost_its_patience_can_be_given_more(tmp_path):
    worse = ("objective.metric=val/loss", "objective.mode=max", "trainer.max_epochs=4")
    _, first = train(tmp_path / "first", *worse, "callbacks.early_stopping.patience=1")
    last = f"resume={first}/checkpoints/last.ckpt"
    _, second = train(tmp_path / "second", *worse, "callbacks.early_stopping.patience=3", last)
    assert [len(epochs_of(directory)) for directory in (first, second)] == [2, 2]


def test_a_trial_that_lost_its_patience_has_ended(tmp_path):
    """As one that was interrupted before it told its score, and is run again."""
    impatient = ("callbacks.early_stopping.patience=1", "callbacks.early_stopping.min_delta=1")
    _, first = train(tmp_path / "first", *impatient, "trainer.max_epochs=4")
    last = f"resume={first}/checkpoints/last.ckpt"
    line = warm("train", *SMALL, *impatient, last, folder=tmp_path).line
    assert "1 of 1 validations without improvement are done" in line
    study = ("-m", "hydra/launcher=basic", "hydra.sweeper.study=s", "seed=choice(0)")
    answer = warm("train", *study, *SMALL, *impatient, last, folder=tmp_path)
    assert answer.code == 0, answer
    assert len(epochs_of(first)) == 2
    assert not (tmp_path / "multirun/s/0/csv/metrics.csv").exists()


def test_an_epoch_that_is_cut_short_after_going_on_leaves_the_best_score(tmp_path):
    before, first = train(tmp_path / "first", "+trainer.max_steps=12")
    last = f"resume={first}/checkpoints/last.ckpt"
    after, _ = train(tmp_path / "second", "+trainer.max_steps=20", last)
    assert score_in(after) == score_in(before)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The last.ckpt of a run of two epochs, under a limit to its time."""
    limits = ("trainer.max_epochs=2", "+trainer.max_time=00:00:10:00")
    _, directory = train(tmp_path_factory.mktemp("ended"), *limits)
    return directory / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (["trainer.max_epochs=2"], ["2 of 2 epochs", "a larger trainer.max_epochs"]),
        (["trainer.max_epochs=2", "callbacks=none"], ["2 of 2 epochs"]),
        (["trainer.max_epochs=1"], ["2 of 1 epochs", "a larger trainer.max_epochs"]),
        (["+trainer.max_steps=3"], ["22 of 3 steps", "a larger trainer.max_steps"]),
        (["+trainer.max_time=00:00:00:00"], ["of 0 seconds", "a larger trainer.max_time"]),
    ],
    ids=" ".join,
)
def test_a_run_that_has_nothing_left_to_train_is_told_so(ended, tmp_path, limits, told):
    line = warm("train", *SMALL, f"resume={ended}", *limits, folder=tmp_path).line
    assert not [part for part in [str(ended), *told] if part not in line], line
    assert not list(tmp_path.iterdir())


def test_a_trial_that_has_nothing_left_to_train_has_its_score(ended, tmp_path):
    """As one that was interrupted before it told its score, and is run again."""
    study = ("-m", "hydra/launcher=basic", "hydra.sweeper.study=s", "seed=choice(0)")
    going_on = (f"resume={ended}", "trainer.max_epochs=2")
    answer = warm("train", *study, *SMALL, *going_on, folder=tmp_path)
    assert answer.code == 0, answer
    assert (tmp_path / "multirun/s/0/checkpoints/best.ckpt").is_file()


def test_a_checkpoint_of_weights_alone_is_not_gone_on_from(tmp_path):
    weights = ("+callbacks.checkpoint.save_weights_only=true", "trainer.max_epochs=1")
    _, directory = train(tmp_path, *weights)
    last = directory / "checkpoints" / "last.ckpt"
    line = warm("train", *SMALL, f"resume={last}", folder=tmp_path).line
    assert f"{last} contains only weights" in line
