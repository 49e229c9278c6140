"""The classifier: what it normalises by, minimises and measures."""

import math
from functools import partial

import numpy as np
import pytest
import pytorch_lightning as L
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pytorch_lightning.loggers.logger import DummyLogger
from sklearn.metrics import accuracy_score, f1_score
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from harnest.core.errors import ConfigError
from harnest.har.augmentation.mixup import Mixup
from harnest.har.classifier import Classifier, channel_statistics, inverse_frequencies
from harnest.har.data.data_module import DeviceLoader, EpochBatchSampler
from harnest.har.limits import METRICS
from harnest.har.networks.lstm import LSTM

CLASSES = 4

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),  # between Lightning and torch
    pytest.mark.filterwarnings("ignore:.*val_dataloader.*"),
    pytest.mark.filterwarnings("ignore:.*logging interval.*"),
]


class AsGiven(nn.Module):
    """Takes the first step of a window for its logits."""

    def forward(self, x):
        return x[:, 0, :]


def classifier(network=None, channels=CLASSES, **options):
    options = {"mean": torch.zeros(channels), "std": torch.ones(channels)} | options
    return Classifier(network or AsGiven(), classes=CLASSES, **options)


def quiet_trainer(**options):
    """Lightning on the processor, without files and lines on the terminal."""
    return L.Trainer(
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        **options,
    )


def measured(module, batches, part="val"):
    """What the epoch over ``batches`` logs."""
    trainer = quiet_trainer()
    run = {"val": trainer.validate, "test": trainer.test}[part]
    (values,) = run(module, batches, verbose=False)
    return {name.removeprefix(f"{part}/"): value for name, value in values.items()}


def answers(logits, labels, size):
    """Batches of windows of one step, whose values are the logits."""
    signals = torch.as_tensor(logits).float()[:, None]
    return DeviceLoader(signals, torch.as_tensor(labels), EpochBatchSampler(len(signals), size))


def random_answers(seed, count):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, CLASSES)), rng.integers(0, CLASSES, count)


def test_a_checkpoint_carries_the_normalisation():
    torch.manual_seed(0)
    trained = classifier(
        LSTM(2, CLASSES), mean=torch.tensor([1.0, -4.0]), std=torch.tensor([2.0, 5.0])
    )
    torch.manual_seed(1)
    loaded = classifier(LSTM(2, CLASSES), channels=2)
    loaded.load_state_dict(trained.state_dict())
    x = torch.randn(3, 10, 2)
    assert torch.equal(loaded(x), trained(x))
    assert "mean" not in dict(trained.named_parameters())


def test_the_network_is_given_normalised_channels():
    x = torch.randn(50, 8, CLASSES, dtype=torch.float64) * torch.tensor([1, 5, 0.1, 30.0]) + 7
    mean, std = channel_statistics(x.float())
    seen = []
    module = classifier(nn.Identity(), mean=mean, std=std)
    module.network.register_forward_hook(lambda m, given, result: seen.append(given[0]))
    module(x.float())
    torch.testing.assert_close(seen[0].mean(dim=(0, 1)), torch.zeros(CLASSES), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen[0].std(dim=(0, 1)), torch.ones(CLASSES), atol=2e-3, rtol=0)


@given(
    offset=st.floats(-1e4, 1e4),
    scale=st.floats(0.1, 100),
    shape=st.tuples(*3 * [st.integers(2, 9)]),
)
@settings(max_examples=30)
def test_statistics_are_those_of_numpy(offset, scale, shape):
    x = (np.random.default_rng(0).normal(size=shape) * scale + offset).astype(np.float32)
    mean, std = channel_statistics(torch.from_numpy(x))
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=(0, 1)), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(std, exact.std(axis=(0, 1)), rtol=1e-5)


@given(value=st.floats(-1e6, 1e6, width=32), windows=st.integers(1, 300))
@settings(max_examples=50)
@example(value=0.10000000149011612, windows=700)
def test_a_channel_that_never_changes_becomes_zero(value, windows):
    x = torch.full((windows, 10, 1), value)
    mean, std = channel_statistics(x)
    assert std == 1
    assert ((x - mean) / std).abs().max() <= abs(value) * 1e-7


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 0.5, 2.0, 0.0])])
def test_the_loss_is_cross_entropy(smoothing, weights):
    logits, labels = random_answers(0, 17)
    ((x, y),) = answers(logits, labels, 17)
    module = classifier(label_smoothing=smoothing, class_weights=weights)
    expected = nn.functional.cross_entropy(
        torch.tensor(logits).float(), y, weight=weights, label_smoothing=smoothing
    )
    assert torch.equal(module.training_step((x, y), 0), expected)


def test_class_weights_are_the_inverse_of_the_frequencies():
    labels = torch.tensor([0] * 10 + [1] * 5 + [2] * 4 + [3])
    balanced = compute_class_weight("balanced", classes=np.arange(4), y=labels.numpy())
    np.testing.assert_allclose(inverse_frequencies(labels, 4), balanced, rtol=1e-6)
    assert inverse_frequencies(labels, 4)[labels].mean() == pytest.approx(1)


@given(seed=st.integers(0, 10**6), count=st.integers(1, 40), size=st.integers(1, 12))
@settings(max_examples=15)
@example(seed=0, count=33, size=8)
def test_metrics_are_those_of_scikit_learn_whatever_the_batches(seed, count, size):
    logits, labels = random_answers(seed, count)
    values = measured(classifier(), answers(logits, labels, size))
    guesses = logits.argmax(axis=1)
    assert values["accuracy"] == pytest.approx(accuracy_score(labels, guesses))
    assert values["macro_f1"] == pytest.approx(f1_score(labels, guesses, average="macro"))
    loss = nn.functional.cross_entropy(torch.tensor(logits).float(), torch.tensor(labels))
    assert values["loss"] == pytest.approx(float(loss), rel=1e-5)


def test_each_epoch_is_measured_afresh():
    module = classifier()
    first, second = (answers(*random_answers(seed, 20), 8) for seed in (1, 2))
    alone = measured(module, second)
    assert measured(module, first) != alone
    assert measured(module, second) == alone
    assert measured(module, second, part="test") == alone


def test_what_a_run_can_be_judged_by_is_what_is_logged():
    values = measured(classifier(), answers(*random_answers(1, 5), 5))
    assert {f"val/{name}" for name in values} | {"train/loss"} == set(METRICS)


def test_training_logs_the_epochs_metrics_and_learning_rate():
    logged = []

    class Watcher(DummyLogger):
        def log_metrics(self, metrics, step):
            logged.append(metrics)

    logits, labels = random_answers(0, 20)
    module = classifier(
        nn.Sequential(AsGiven(), nn.Linear(CLASSES, CLASSES)),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.5),
        scheduler=lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1),
    )
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=3,
        logger=Watcher(),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, answers(logits, labels, 8))
    assert [epoch["lr"] for epoch in logged] == pytest.approx([0.5, 0.05, 0.005])
    assert all(
        set(e) == {"epoch", "lr", "train/loss", "train/accuracy", "train/macro_f1"} for e in logged
    )
    assert logged[2]["train/loss"] < logged[0]["train/loss"]


def test_a_loss_that_is_not_a_number_is_not_hidden():
    logits, labels = random_answers(0, 20)
    logits[3] = np.nan
    assert math.isnan(measured(classifier(), answers(logits, labels, 8))["loss"])


class Louder:
    """Changes every window in a way that is easily seen."""

    probability = 1.0

    def __call__(self, x, layout):
        return x * 10


class Noisy:
    """Changes every window by chance."""

    probability = 1.0

    def __call__(self, x, layout):
        return x + torch.randn_like(x)


def test_only_training_windows_are_changed():
    seen = []
    module = classifier(augmentations=[Louder()])
    module.network.register_forward_hook(lambda m, given, result: seen.append(given[0]))
    x, y = torch.ones(6, 1, CLASSES), torch.zeros(6, dtype=torch.int64)
    module.training_step((x, y), 0)
    module.validation_step((x, y), 0)
    module.test_step((x, y), 0)
    module(x)
    assert [float(windows.mean()) for windows in seen] == [10, 1, 1, 1]


def test_augmentations_are_told_statistics_and_triads():
    told = []

    class Watcher(Louder):
        def __call__(self, x, layout):
            told.append(layout)
            return x

    mean, std = torch.arange(4.0), torch.arange(4.0) + 1
    module = classifier(mean=mean, std=std, augmentations=[Watcher()], triads=((0, 1, 2),))
    module.augmented((torch.zeros(2, 3, CLASSES), torch.tensor([0, 1])))
    assert torch.equal(told[0].mean, mean)
    assert torch.equal(told[0].std, std)
    assert told[0].triads == ((0, 1, 2),)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_mixup_trains_on_shares(smoothing):
    labels = torch.arange(CLASSES).repeat(10)
    x = nn.functional.one_hot(labels, CLASSES).float()[:, None] * 10
    module = classifier(augmentations=[Mixup(5.0, 1.0)], label_smoothing=smoothing)
    torch.manual_seed(0)
    loss = module.training_step((x, labels), 0)
    torch.manual_seed(0)
    mixed, targets = Mixup(5.0, 1.0)(x, nn.functional.one_hot(labels, CLASSES).float())
    assert not torch.equal(mixed, x)
    expected = nn.functional.cross_entropy(mixed[:, 0], targets, label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected)


def test_mixed_windows_are_scored_by_the_larger_share():
    """Each window is its label, so a network that only looks is never wrong."""
    labels = torch.arange(CLASSES).repeat(10)
    looks = nn.Linear(CLASSES, CLASSES)
    looks.load_state_dict({"weight": torch.eye(CLASSES), "bias": torch.zeros(CLASSES)})
    module = classifier(
        nn.Sequential(AsGiven(), looks),
        augmentations=[Mixup(5.0, 1.0)],
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0),
    )
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(module, answers(nn.functional.one_hot(labels, CLASSES) * 10, labels, 8))
    assert trainer.callback_metrics["train/accuracy"] == 1
    assert trainer.callback_metrics["train/loss"] > 0.1  # so they were mixed


def test_copies_average_probabilities_and_repeat_themselves():
    logits, labels = random_answers(0, 30)
    batches = answers(logits, labels, 7)
    plain = measured(classifier(augmentations=[Noisy()]), batches)
    module = classifier(augmentations=[Noisy()], copies=200)
    values = measured(module, batches)
    assert values == measured(module, batches) == measured(module, batches, part="test")
    assert plain == measured(classifier(), batches)
    # The mean over noise, computed by itself: it is close to that of other noise.
    noise = torch.randn(2000, 1, CLASSES, generator=torch.Generator().manual_seed(5))
    probabilities = (torch.tensor(logits).float() + noise).softmax(dim=2).mean(dim=0)
    expected = nn.functional.nll_loss(probabilities.log(), torch.tensor(labels))
    assert values["loss"] == pytest.approx(float(expected), abs=0.05)
    assert values["loss"] != plain["loss"]


def test_copies_in_the_middle_of_an_epoch_leave_training_its_own_chance():
    def losses(copies):
        torch.manual_seed(0)
        module = classifier(
            nn.Sequential(AsGiven(), nn.Dropout(), nn.Linear(CLASSES, CLASSES)),
            augmentations=[Noisy()],
            copies=copies,
            optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        )
        each = []
        trainer = quiet_trainer(max_epochs=2, val_check_interval=0.5, callbacks=[Keeps(each)])
        trainer.fit(module, answers(*random_answers(0, 32), 8), answers(*random_answers(1, 20), 8))
        return each

    class Keeps(L.Callback):
        def __init__(self, each):
            self.each = each

        def on_train_batch_end(self, trainer, module, outputs, *arguments):
            self.each.append(float(outputs["loss"]))

    assert len(losses(0)) == 8
    assert losses(2) == losses(0)


def test_a_scheduler_that_asks_for_steps_acts_after_each():
    asked = []

    def halving(optimizer, total_steps):
        asked.append(total_steps)
        return torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)

    module = classifier(
        nn.Sequential(AsGiven(), nn.Linear(CLASSES, CLASSES)),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
        scheduler=halving,
    )
    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(module, answers(*random_answers(0, 20), 8))
    assert asked == [6]
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.5**6


COSINE = partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=2)
RISING = partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.1)
STEP = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
SGD = partial(torch.optim.SGD, lr=1.0, momentum=0.9)


class Rates(L.Callback):
    """The learning rate of each training step."""

    def __init__(self):
        self.each = []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.each.append(trainer.optimizers[0].param_groups[0]["lr"])


def fit_on(epochs, scheduler, ckpt_path=None, optimizer=SGD):
    """Train, from a checkpoint where one is given; the trainer, and the rate of each step."""
    torch.manual_seed(0)
    module = classifier(
        nn.Sequential(AsGiven(), nn.Linear(CLASSES, CLASSES)),
        optimizer=optimizer,
        scheduler=scheduler,
    )
    rates = Rates()
    trainer = quiet_trainer(max_epochs=epochs, callbacks=[rates])
    trainer.fit(module, answers(*random_answers(0, 20), 8), ckpt_path=ckpt_path)
    return trainer, rates.each


@pytest.mark.parametrize(
    "then",
    [
        pytest.param(partial(COSINE, T_max=4), id="a longer cosine"),
        pytest.param(RISING, id="a longer cycle"),
        pytest.param(STEP, id="steps"),
        pytest.param(None, id="none"),
    ],
)
@pytest.mark.parametrize("before", [COSINE, RISING, None], ids=["cosine", "cycle", "none"])
def test_a_run_that_goes_on_has_the_rates_of_its_scheduler(before, then, tmp_path):
    """They are those of a run that has had this scheduler from its beginning."""
    fit_on(2, before)[0].save_checkpoint(tmp_path / "two.ckpt")
    _, rates = fit_on(4, then, tmp_path / "two.ckpt")
    assert rates == fit_on(4, then)[1][6:]


def test_a_run_that_goes_on_has_the_options_of_its_optimizer(tmp_path):
    fit_on(2, None)[0].save_checkpoint(tmp_path / "two.ckpt")
    other = partial(torch.optim.SGD, lr=0.25, momentum=0.5, weight_decay=0.1)
    trainer, rates = fit_on(4, None, tmp_path / "two.ckpt", other)
    assert rates == [0.25] * 6
    (group,) = trainer.optimizers[0].param_groups
    assert (group["momentum"], group["weight_decay"]) == (0.5, 0.1)
    (state, *_) = trainer.optimizers[0].state.values()
    assert state["momentum_buffer"].any()


def test_a_run_that_had_ended_knows_what_it_measured(tmp_path):
    before, _ = fit_on(2, None)
    before.save_checkpoint(tmp_path / "two.ckpt")
    after, rates = fit_on(2, None, tmp_path / "two.ckpt")
    assert rates == []
    assert after.lightning_module.metrics == before.lightning_module.metrics
    assert "train/loss" in after.lightning_module.metrics


def test_a_run_does_not_go_on_with_another_optimizer(tmp_path):
    fit_on(2, None)[0].save_checkpoint(tmp_path / "two.ckpt")
    with pytest.raises(ConfigError, match="trained with SGD, not with AdamW"):
        fit_on(4, None, tmp_path / "two.ckpt", partial(torch.optim.AdamW, lr=0.1))


def test_fewer_copies_than_none_are_refused():
    with pytest.raises(ConfigError, match="copies=-1 cannot be used"):
        classifier(copies=-1)
