"""From a config to the parts of a run, each as the config says, on the real recordings."""

import math
from dataclasses import replace

import hydra
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from pytorch_lightning.loggers.logger import DummyLogger

from harnest.core.errors import ConfigError
from harnest.core.paths import CONFIG_DIR
from harnest.har.classifier import inverse_frequencies
from harnest.har.components import make_classifier, make_data
from harnest.har.data.recording import Channel
from harnest.training.components import assemble
from harnest.training.instantiate import build

pytestmark = pytest.mark.usefixtures("as_before")

SMALL = ("data.batch_size=256", "trainer=cpu")
EPOCHS = 4
STEPS = 6  # in each


def one_cycle(step):
    """Torch's schedule with a factor of 10, as a share of the largest rate."""
    top, end = EPOCHS * STEPS / 2 - 1, EPOCHS * STEPS - 1
    if step <= top:
        return 0.1 + 0.9 * (1 - math.cos(math.pi * step / top)) / 2
    return 1e-5 + (1 - 1e-5) * (1 + math.cos(math.pi * (step - top) / (end - top))) / 2


def compose(*overrides):
    common = ["logger=none", "callbacks=none", "trainer.enable_progress_bar=false"]
    with hydra.initialize_config_dir(str(CONFIG_DIR)):
        return hydra.compose("train", [*common, *SMALL, *overrides])


class Kept(DummyLogger):
    """Keeps what is logged, an epoch's training metrics a row."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step):
        if "lr" in metrics:
            self.rows.append(metrics)


@pytest.fixture
def trained(tmp_path):
    def train(*overrides):
        parts = assemble(
            compose("model.hidden_size=4", f"trainer.max_epochs={EPOCHS}", *overrides), tmp_path
        )
        kept = Kept()
        parts.trainer.logger = kept
        parts.trainer.fit(parts.module, datamodule=parts.data)
        return kept.rows

    return train


@pytest.mark.parametrize(
    ("scheduler", "rates"),
    [
        (["none"], [1, 1, 1, 1]),
        (["cosine"], [(1 + math.cos(math.pi * e / EPOCHS)) / 2 for e in range(EPOCHS)]),
        (["step", "scheduler.step_size=2", "scheduler.gamma=0.1"], [1, 1, 0.1, 0.1]),
        # No loss is better by the whole of it: no epoch counts as an improvement.
        (
            ["plateau", "scheduler.patience=1", "+scheduler.threshold=1", "objective.mode=min"],
            [1, 1, 0.3, 0.3],
        ),
        # Validated by a count of steps: an epoch without has no metric to be judged by.
        (
            [
                *("plateau", "scheduler.patience=0", "+scheduler.threshold=1"),
                *("objective.mode=min", "trainer.check_val_every_n_epoch=null"),
                f"+trainer.val_check_interval={2 * STEPS}",
            ],
            [1, 1, 0.3, 0.3],
        ),
        # By steps: these are the rates with which each epoch begins.
        (
            ["warmup_cosine", "scheduler.warmup=0.5"],
            [1 / (EPOCHS * STEPS / 2 + 1), (STEPS + 1) / (EPOCHS * STEPS / 2 + 1), 1, 0.5],
        ),
        (
            ["onecycle", "scheduler.pct_start=0.5", "scheduler.div_factor=10"],
            [0.1, one_cycle(STEPS), one_cycle(2 * STEPS), one_cycle(3 * STEPS)],
        ),
    ],
    ids=lambda value: value[0] if isinstance(value[0], str) else None,
)
def test_each_scheduler_gives_its_learning_rates(trained, scheduler, rates):
    rows = trained(f"scheduler={scheduler[0]}", *scheduler[1:], "objective.metric=val/loss")
    assert [row["lr"] for row in rows] == pytest.approx([1e-3 * rate for rate in rates])


@pytest.mark.parametrize(("optimizer", "rate"), [("adam", 1e-2), ("adamw", 1e-2), ("sgd", 0.1)])
def test_each_optimizer_learns(trained, optimizer, rate):
    rows = trained(f"optimizer={optimizer}", f"optimizer.lr={rate}")
    losses = [row["train/loss"] for row in rows]
    assert losses[-1] < 0.98 * losses[0]


def test_a_calibrated_network_sees_normalised_training_windows(tmp_path):
    parts = assemble(compose("model=minirocket", "model.features=168"), tmp_path)
    network = parts.module.network
    signals, _ = parts.data.tensors("train")
    assert network.thresholds.any()
    seen = []
    network.head.register_forward_hook(lambda module, given, result: seen.append(given[0]))
    parts.module(signals)
    # Of 1024 windows of these, at random, all features have mean 0 and deviation 1.
    assert seen[0].mean(dim=0).abs().max() < 0.1
    assert seen[0].std(dim=0).mean() == pytest.approx(1, abs=0.05)


def test_a_calibrated_network_sees_each_window_augmented_as_well(tmp_path):
    cfg = compose("data=watch", "augmentation=mirror", "augmentation.mirror.probability=1")
    parts = assemble(cfg, tmp_path)
    signals, labels = parts.data.tensors("train")
    classifier = parts.module
    x, y = classifier.examples(signals, labels)
    assert torch.equal(y, torch.cat([labels, labels]))
    raw = x * classifier.std + classifier.mean
    turned = signals * torch.tensor([-1.0, 1, 1, 1, -1, -1])
    torch.testing.assert_close(raw, torch.cat([signals, turned]), atol=1e-5, rtol=1e-5)


def test_augmentations_come_in_their_order_and_null_leaves_one_out(tmp_path):
    def members(*overrides):
        augment = assemble(compose(*overrides), tmp_path).module.augment
        return [type(member).__name__ for member in (*augment.signal, *augment.mixups)]

    assert members() == []
    assert members("augmentation=[mixup,jitter]") == ["Jitter", "Mixup"]
    light = members("augmentation=light")
    assert light == ["Rotation", "Scaling", "Jitter"]
    assert members("augmentation=light", "augmentation.scaling=null") == ["Rotation", "Jitter"]


def test_accelerometer_and_gyroscope_are_known_to_turn_together(tmp_path):
    assert assemble(compose(), tmp_path).module.triads == ((0, 1, 2), (3, 4, 5))


def test_an_augmentation_that_does_not_fit_the_data_is_refused_before_training(tmp_path):
    cfg = compose("augmentation=rotation")
    data = make_data(cfg)
    windows = replace(data.windows, channels=tuple(Channel(f"c{n}", "g") for n in range(6)))
    data.windows = windows
    with pytest.raises(ConfigError, match=r"augmentation\.rotation=null"):
        make_classifier(cfg, data)


def test_augmentation_leaves_the_first_weights_as_they_were(tmp_path):
    weights = [
        assemble(compose(f"augmentation={choice}"), tmp_path).module.network.head.weight
        for choice in ("none", "default")
    ]
    assert torch.equal(*weights)


def test_weights_and_smoothing_change_the_loss(tmp_path):
    plain = assemble(compose(), tmp_path)
    parts = assemble(compose("loss.class_weights=true", "loss.label_smoothing=0.1"), tmp_path)
    _, labels = parts.data.tensors("train")
    assert plain.module.loss.weight is None
    assert plain.module.loss.label_smoothing == 0
    assert torch.equal(parts.module.loss.weight, inverse_frequencies(labels, 7))
    assert parts.module.loss.label_smoothing == 0.1


def test_the_statistics_are_those_of_the_training_subjects(tmp_path):
    parts = assemble(compose(), tmp_path)
    windows, split = parts.data.windows, parts.data.split
    everyone = set(split.train_subjects), set(split.validation_subjects), set(split.test_subjects)
    assert sum(map(len, everyone)) == 10
    assert len(set.union(*everyone)) == 10
    of_training = np.isin(windows.subjects, split.train_subjects)
    training = windows.signals[of_training].astype(np.float64)
    np.testing.assert_allclose(parts.module.mean, training.mean(axis=(0, 1)), rtol=1e-5)
    np.testing.assert_allclose(parts.module.std, training.std(axis=(0, 1)), rtol=1e-5)
    everything = windows.signals.astype(np.float64).mean(axis=(0, 1))
    assert not np.allclose(parts.module.mean, everything, rtol=1e-3)


def test_the_seed_decides_the_weights_and_the_split_seed_the_subjects(tmp_path):
    def weights(*overrides):
        return assemble(compose(*overrides), tmp_path).module.network.head.weight

    assert torch.equal(weights(), weights())
    assert not torch.equal(weights(), weights("seed=1"))
    assert (
        make_data(compose()).split.test_subjects == make_data(compose("seed=1")).split.test_subjects
    )
    others = [
        make_data(compose(f"data.split_seed={seed}")).split.test_subjects for seed in range(4)
    ]
    assert len(set(others)) > 1


def test_a_network_for_the_data_at_hand(tmp_path):
    classifier = assemble(compose("model.bidirectional=true"), tmp_path).module
    assert classifier.network.lstm.input_size == 6
    assert classifier.network.head.out_features == 7
    assert classifier.network.lstm.bidirectional


def test_all_may_be_trained_on_but_then_nobody_tells_a_validation_score(tmp_path):
    with pytest.raises(ConfigError, match=r"objective\.metric=train/loss"):
        assemble(compose("data.validation=null"), tmp_path)
    overrides = ("data.validation=null", "objective.metric=train/loss")
    split = assemble(compose(*overrides), tmp_path).data.split
    assert not split.validation_subjects
    assert sorted([*split.train_subjects, *split.test_subjects]) == list(range(1, 11))


class Told:
    """A trial that keeps what it is told."""

    def __init__(self):
        self.reports = {}

    def report(self, value, step):
        self.reports[step] = value

    def should_prune(self):
        return False


@pytest.mark.parametrize("metric", ["val/macro_f1", "train/loss"])
def test_a_trial_hears_of_its_objective_though_no_checkpoint_is_kept(tmp_path, metric):
    few = ("model.hidden_size=4", "trainer.max_epochs=1", "trainer.limit_train_batches=1")
    trial = Told()
    parts = assemble(compose(*few, f"objective.metric={metric}"), tmp_path, trial)
    parts.trainer.fit(parts.module, datamodule=parts.data)
    assert trial.reports == {0: float(parts.trainer.callback_metrics[metric])}
    assert not list(tmp_path.iterdir())


def test_threads_are_what_the_config_says(tmp_path):
    assemble(compose("threads=2"), tmp_path)
    assert torch.get_num_threads() == 2
    assemble(compose("threads=null"), tmp_path)
    assert torch.get_num_threads() == 2
    assemble(compose(), tmp_path)
    assert torch.get_num_threads() == 1


def test_null_switches_a_member_off():
    assert build(None) is None
    assert build(OmegaConf.create({"_target_": None})) is None


@pytest.mark.parametrize(
    ("node", "told"),
    [
        ({"_target_": "subprocess.run", "args": ["ls"]}, "subprocess.run"),
        ({"_target_": "mylab.nets.Conv"}, "HARNEST_TRUST=mylab"),
        ({"_target_": "torch.nn.Nothing"}, "torch.nn.Nothing cannot be made"),
        ({"_target_": "torch.nn.Linear", "size": 3}, "size"),
        ({"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "os.getcwd"}]}, "os.getcwd"),
    ],
)
def test_what_cannot_be_made_is_told_in_one_line(node, told):
    with pytest.raises(ConfigError) as refused:
        build(OmegaConf.create(node))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
