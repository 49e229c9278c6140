"""Classifiers trained as one program: each is what it would be, trained alone."""

from functools import partial

import pytest
import pytorch_lightning as L
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from torch import nn
from torch.optim import SGD, Adam, AdamW, RMSprop
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, ReduceLROnPlateau

from half_precision import skip_unless_computed
from harnest.core.errors import ConfigError
from harnest.core.silence_libraries import silence_libraries
from harnest.har.augmentation.jitter import Jitter
from harnest.har.classifier import Classifier
from harnest.har.data.data_module import DeviceLoader, EpochBatchSampler, shuffled
from harnest.har.networks.cnn_lstm import CNNLSTM
from harnest.har.networks.convlstm import ConvLSTM
from harnest.har.networks.deepconvlstm import DeepConvLSTM
from harnest.har.networks.fcn import FCN
from harnest.har.networks.gru import GRU
from harnest.har.networks.inception import InceptionTime
from harnest.har.networks.lstm import LSTM
from harnest.har.networks.minirocket import MiniRocket
from harnest.har.networks.resnet import ResNet
from harnest.har.networks.tcn import TCN
from harnest.har.networks.transformer import Transformer
from harnest.har.packed.dropout import PackedDropout
from harnest.har.packed.pack import is_packable, train_epoch
from harnest.har.packed.packed_classifier import PackedClassifier, has_batch_hooks
from harnest.har.packed.template import template_of
from harnest.study.execution.barrier import run_cooperatively, synchronize
from harnest.training.callbacks.resource_monitor import ResourceMonitor

CLASSES, CHANNELS, SIZE = 4, 3, 16

NETWORKS = {
    "lstm": partial(LSTM, hidden_size=8),
    "lstm-mean": partial(LSTM, hidden_size=8, layers=2, pooling="mean"),
    "lstm-all": partial(LSTM, hidden_size=8, layers=2, bidirectional=True, pooling="attention"),
    "gru": partial(GRU, hidden_size=8),
    "gru-all": partial(GRU, hidden_size=8, layers=2, bidirectional=True, pooling="attention"),
    "fcn": partial(FCN, hidden_size=8),
    "resnet": partial(ResNet, hidden_size=4),
    "inception": partial(InceptionTime, hidden_size=4),
    "tcn": partial(TCN, hidden_size=8, layers=2),
    "cnn_lstm": partial(CNNLSTM, hidden_size=8, filters=8),
    "deepconvlstm": partial(DeepConvLSTM, hidden_size=8, filters=4),
    "convlstm": partial(ConvLSTM, hidden_size=8, parts=4),
    "minirocket": partial(MiniRocket, features=1000),
}
#: Whose dropout does not act on contiguous tensors: the masks have another order there.
IN_ANOTHER_ORDER = ("cnn_lstm",)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),
    pytest.mark.filterwarnings("ignore:.*performance drop.*"),
]


def part(seed, count):
    """Windows whose offset tells their class, with much noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    noise = torch.randn(count, 20, CHANNELS, generator=generator)
    return noise + labels[:, None, None] / 2, labels


DATA = {"train": part(0, 50), "validation": part(1, 30)}


def order(seed, epoch):
    return shuffled(50, seed * 1_000_003 + epoch)


def trainer_for(epochs=3, **options):
    silence_libraries()
    defaults = {"accelerator": "cpu", "gradient_clip_val": 0.5, "num_sanity_val_steps": 0}
    return L.Trainer(
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **defaults | options,
    )


def made(kind, network, *, seed, optimizer=None, **options):
    torch.manual_seed(seed)
    return kind(
        network(CHANNELS, CLASSES),
        classes=CLASSES,
        optimizer=optimizer or partial(AdamW, lr=1e-2),
        seed=seed,
        **{"mean": torch.full((CHANNELS,), 0.7), "std": torch.full((CHANNELS,), 1.3)} | options,
    )


def alone(member, trainer, **options):
    """Train one by itself; gives the classifier, and what it logged in the last epoch."""
    model = made(Classifier, **member)
    key = {"train": lambda: member["seed"] * 1_000_003 + trainer.current_epoch}
    loaders = (
        DeviceLoader(*DATA[part], EpochBatchSampler(len(DATA[part][1]), SIZE, key=key.get(part)))
        for part in ("train", "validation")
    )
    trainer.fit(model, *loaders, **options)
    return model, dict(trainer.callback_metrics)


def packed(members, trainers, folder, resumed=None):
    """Train all as one program; gives the same of each, or the error that ended it.

    Each goes on from its checkpoint of ``resumed``, where there is one.
    """
    checkpoints = resumed or [None] * len(members)
    ends = [None] * len(members)

    def job(index):
        try:
            model = made(
                PackedClassifier,
                synchronize=lambda member: synchronize(member, train_epoch),
                tensors=DATA.__getitem__,
                order=partial(order, members[index]["seed"]),
                batch_size=SIZE,
                **members[index],
            )
            trainers[index].fit(model, ckpt_path=checkpoints[index])
            ends[index] = model, dict(trainers[index].callback_metrics)
        except Exception as error:
            ends[index] = error

    files = [folder / f"{index}.log" for index in range(len(members))]
    run_cooperatively([(partial(job, index), file) for index, file in enumerate(files)])
    return ends


def assert_same(one, other):
    (model, metrics), (expected, wanted) = one, other
    assert metrics.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(metrics[name], value, msg=name)
    state = model.state_dict()
    assert state.keys() == expected.state_dict().keys()
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(state[name], value, atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_becomes_what_it_would_alone(name, tmp_path):
    """With learning rates, weight decays, seeds and rates of dropout of their own.

    On the CPU each also draws the masks of its dropout as if it were alone.
    """
    rates = ((1e-2, 0.0, 1, 0.0), (3e-3, 0.1, 2, 0.3), (1e-3, 0.01, 7, 0.6))
    members = [
        {
            "network": partial(NETWORKS[name], dropout=dropout * (name not in IN_ANOTHER_ORDER)),
            "optimizer": partial(AdamW, lr=lr, weight_decay=decay),
            "seed": seed,
        }
        for lr, decay, seed, dropout in rates
    ]
    together = packed(members, [trainer_for() for _ in members], tmp_path)
    for member, one in zip(members, together, strict=True):
        assert_same(one, alone(member, trainer_for()))
    assert len({float(metrics["train/loss"]) for _, metrics in together}) == 3


@pytest.mark.half_precision
@pytest.mark.parametrize("name", ["lstm-all", "gru", "fcn"])
def test_bf16_is_rounded_as_it_is_alone(name, tmp_path):
    few = DATA["train"][0][:2]
    skip_unless_computed(NETWORKS[name](CHANNELS, CLASSES), few, "bf16-mixed")
    members = [{"network": NETWORKS[name], "seed": seed} for seed in (1, 2)]
    together = packed(members, [trainer_for(precision="bf16-mixed") for _ in members], tmp_path)
    for member, (model, metrics) in zip(members, together, strict=True):
        _, wanted = alone(member, trainer_for(precision="bf16-mixed"))
        exact, _ = alone(member, trainer_for())
        assert metrics["val/loss"] == pytest.approx(wanted["val/loss"], rel=0.02)
        weight = next(iter(model.parameters()))
        assert weight.dtype == torch.float32
        assert not torch.equal(weight, next(iter(exact.parameters())))


@pytest.mark.parametrize(
    "optimizer",
    [
        partial(AdamW, weight_decay=0.1),
        partial(Adam, weight_decay=0.01, betas=(0.8, 0.99)),
        partial(Adam, weight_decay=0.5, decoupled_weight_decay=True),
        partial(SGD, momentum=0.9, nesterov=True, weight_decay=0.01),
        partial(SGD, momentum=0.9),
        SGD,
    ],
)
def test_optimizers_schedulers_and_losses_are_each_one_s_own(optimizer, tmp_path):
    schedulers = (
        partial(CosineAnnealingLR, T_max=3),
        partial(ReduceLROnPlateau, patience=0, mode="max"),  # soon: the loss gets better
        *([] if optimizer is SGD else [partial(OneCycleLR, max_lr=0.02)]),  # it cycles momentum
        None,
    )
    members = [
        {
            "network": NETWORKS["lstm"],
            "optimizer": partial(optimizer, lr=3e-3 * (index + 1)),
            "scheduler": scheduler,
            "seed": index,
            "label_smoothing": 0.1,
            "class_weights": torch.tensor([1.0, 2.0, 0.5, 1.0]),
        }
        for index, scheduler in enumerate(schedulers)
    ]
    together = packed(members, [trainer_for() for _ in members], tmp_path)
    for member, one in zip(members, together, strict=True):
        expected = alone(member, trainer_for())
        assert_same(one, expected)
        (mine,), (wanted,) = (model.optimizers().param_groups for model, _ in (one, expected))
        assert mine["lr"] == pytest.approx(wanted["lr"])
        if optimizer is SGD:  # nothing to remember
            continue
        states = [list(model.optimizers().state.values()) for model, _ in (one, expected)]
        for state, other in zip(*states, strict=True):
            for name in other:
                if other[name] is not None:
                    torch.testing.assert_close(state[name], other[name], atol=1e-6, rtol=1e-3)


def test_one_that_leaves_or_diverges_leaves_the_others_as_they_would_be(tmp_path):
    members = [{"network": NETWORKS["fcn"], "seed": seed} for seed in range(4)]
    members[0]["optimizer"] = members[2]["optimizer"] = partial(SGD, lr=1e-2)
    members[1]["optimizer"] = members[3]["optimizer"] = partial(SGD, lr=1e38)

    class Leave(L.Callback):
        def on_validation_end(self, trainer, pl_module):
            raise ValueError("it leaves")

    trainers = [
        trainer_for(4),
        trainer_for(4),
        trainer_for(2),
        trainer_for(4, callbacks=[Leave()]),
    ]
    together = packed(members, trainers, tmp_path)
    assert isinstance(together[3], ValueError)
    assert not torch.isfinite(together[1][1]["train/loss"])
    assert_same(together[0], alone(members[0], trainer_for(4)))
    assert_same(together[2], alone(members[2], trainer_for(2)))


def test_a_member_s_checkpoint_is_one_of_its_own_that_goes_on_alone(tmp_path):
    members = [{"network": NETWORKS["lstm"], "seed": seed} for seed in (1, 2)]
    trainers = [trainer_for(2) for _ in members]
    packed(members, trainers, tmp_path)
    trainers[1].save_checkpoint(tmp_path / "two.ckpt")
    single = trainer_for(2)
    alone(members[1], single)
    single.save_checkpoint(tmp_path / "single.ckpt")
    sizes = [(tmp_path / name).stat().st_size for name in ("two.ckpt", "single.ckpt")]
    assert sizes[0] < 1.1 * sizes[1]

    gone_on = alone(members[1], trainer_for(4), ckpt_path=tmp_path / "two.ckpt")
    assert_same(gone_on, alone(members[1], trainer_for(4)))


def test_masks_of_dropout_have_each_one_s_rate_and_generator():
    rates = (0.0, 0.2, 0.7)
    generators = [torch.Generator().manual_seed(seed) for seed in (5, 6, 6)]
    noise = PackedDropout(rates, generators).noise(torch.empty(3, 100, 100))
    assert [float((row == 0).float().mean()) for row in noise] == pytest.approx(rates, abs=0.02)
    assert [float(row.mean()) for row in noise] == pytest.approx([1, 1, 1], abs=0.05)
    generators = [torch.Generator().manual_seed(seed) for seed in (5, 6, 6)]
    alike = PackedDropout((0.3, 0.3, 0.3), generators).noise(torch.empty(3, 100, 100))
    assert torch.equal(alike[1], alike[2])
    assert not torch.equal(alike[0], alike[1])


def test_members_go_on_from_checkpoints_of_their_own(tmp_path):
    members = [
        {"network": partial(NETWORKS["lstm"], dropout=0.3), "seed": seed, "scheduler": scheduler}
        for seed, scheduler in enumerate((partial(CosineAnnealingLR, T_max=4), None, None))
    ]
    first = [trainer_for(2), trainer_for(3)]
    packed(members[:2], first, tmp_path)
    single = trainer_for(1)
    alone(members[2], single)
    files = [tmp_path / f"{number}.ckpt" for number in range(3)]
    for trainer, file in zip([*first, single], files, strict=True):
        trainer.save_checkpoint(file)
    together = packed(members, [trainer_for(4) for _ in members], tmp_path, files)
    for member, one in zip(members, together, strict=True):
        assert_same(one, alone(member, trainer_for(4)))


REFUSED = {
    "Transformer cannot be packed: it holds MultiheadAttention": {"network": Transformer},
    "Odd cannot be packed: vmap": {"network": lambda *sizes: Odd()},
    "optimizer RMSprop cannot be packed": {"optimizer": RMSprop},
    "optimizer AdamW with amsgrad cannot be packed": {"optimizer": partial(AdamW, amsgrad=True)},
    "augmentation cannot be packed": {"augmentations": [Jitter()]},
    "tta.copies cannot be packed": {"copies": 2},
}


class Odd(nn.Module):
    """Looks at its windows, which vmap cannot allow."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(CHANNELS, CLASSES)

    def forward(self, x):
        x = x.mean(dim=1)
        return self.head(x if x.sum() > 0 else -x)


@pytest.mark.parametrize(
    ("network", "optimizer", "precision", "is_possible"),
    [
        (LSTM, AdamW, "32-true", True),
        (LSTM, AdamW, "bf16-mixed", True),
        (FCN, AdamW, "32-true", True),
        (FCN, AdamW, "bf16-mixed", False),
        (Transformer, AdamW, "32-true", False),
        (LSTM, RMSprop, "32-true", False),
        (lambda *sizes: Odd(), AdamW, "32-true", False),
    ],
)
def test_what_a_graph_can_be_made_of_is_known_before(network, optimizer, precision, is_possible):
    made = network(CHANNELS, CLASSES)
    weights = [weight.clone() for weight in made.state_dict().values()]
    windows = DATA["train"][0][:2]
    assert is_packable(made, optimizer, windows, precision) == is_possible
    assert all(map(torch.equal, weights, made.state_dict().values()))


def test_a_callback_that_is_told_of_batches_is_known():
    class Counts(L.Callback):
        def on_train_batch_end(self, *arguments):
            """Count."""

    class Ends(L.Callback):
        def on_train_epoch_end(self, *arguments):
            """Count."""

    known = [
        has_batch_hooks(one) for one in (Counts(), Ends(), ResourceMonitor(), ModelCheckpoint())
    ]
    assert known == [True, False, False, False]


def test_an_lstm_that_projects_its_states_is_refused():
    networks = [nn.LSTM(CHANNELS, 8, proj_size=4) for _ in range(2)]
    with pytest.raises(ConfigError, match="its LSTM has a projection"):
        template_of(networks, [torch.Generator() for _ in networks])


@pytest.mark.parametrize(("told", "options"), REFUSED.items())
def test_what_cannot_be_packed_is_refused_in_a_line(told, options, tmp_path):
    members = [{"network": NETWORKS["lstm"], "seed": seed} | options for seed in (1, 2)]
    for end in packed(members, [trainer_for() for _ in members], tmp_path):
        assert isinstance(end, ConfigError)
        assert str(end).startswith(told)
        assert "hydra/launcher=slots" in str(end)
        assert "\n" not in str(end)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (({"pooling": "last"}, {"pooling": "mean"}), "options of the network differ"),
        (({"layers": 1}, {"layers": 2}), "its layers or sizes differ between trials"),
        (({"hidden_size": 8}, {"hidden_size": 9}), "its layers or sizes differ"),
    ],
)
def test_networks_that_differ_in_more_than_may_be_are_refused(options, told, tmp_path):
    members = [{"network": partial(LSTM, **own), "seed": 1} for own in options]
    for end in packed(members, [trainer_for() for _ in members], tmp_path):
        assert str(end).startswith(f"LSTM cannot be packed: {told}")


def test_members_of_different_data_are_refused(tmp_path):
    members = [
        {"network": NETWORKS["lstm"], "seed": 1, "mean": torch.full((CHANNELS,), s)}
        for s in (0.7, 0.8)
    ]
    for end in packed(members, [trainer_for() for _ in members], tmp_path):
        assert str(end).startswith("trials of different data cannot be packed")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"label_smoothing": 0.2}, "trials that differ in loss.label_smoothing"),
        ({"class_weights": torch.ones(CLASSES)}, "trials that differ in loss.class_weights"),
        ({"optimizer": partial(Adam, lr=1e-2)}, "trials of different optimizers"),
        ({"optimizer": partial(SGD, lr=1e-2)}, "trials of different optimizers"),
    ],
)
def test_members_that_differ_in_what_a_pack_has_once_are_refused(options, told, tmp_path):
    """As a longer `hydra.launcher.varying_keys` makes them synchronize."""
    members = [{"network": NETWORKS["lstm"], "seed": 1} | own for own in ({}, options)]
    for end in packed(members, [trainer_for() for _ in members], tmp_path):
        assert str(end) == f"{told} cannot be packed; take it out of hydra.launcher.varying_keys"


def test_members_that_are_clipped_otherwise_are_refused(tmp_path):
    members = [{"network": NETWORKS["lstm"], "seed": 1}] * 2
    trainers = [trainer_for(gradient_clip_val=most) for most in (0.5, None)]
    for end in packed(members, trainers, tmp_path):
        assert str(end).startswith("trials that differ in trainer.gradient_clip_val cannot be")


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_limit_that_leaves_no_batch_is_told(part, tmp_path):
    member = {"network": NETWORKS["lstm"], "seed": 1, f"limit_{part}": 0.01}
    (end,) = packed([member], [trainer_for()], tmp_path)
    assert str(end) == f"trainer.limit_{part}_batches=0.01 leaves no batch in an epoch: increase it"


def test_a_largest_norm_below_0_is_none(tmp_path):
    """To Lightning it is no clipping."""
    member = {"network": NETWORKS["lstm"], "seed": 1}
    (end,) = packed([member], [trainer_for(gradient_clip_val=-1.0)], tmp_path)
    assert_same(end, alone(member, trainer_for(gradient_clip_val=None)))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"accumulate_grad_batches": 2}, "trainer.accumulate_grad_batches"),
        ({"num_sanity_val_steps": 2}, "trainer.num_sanity_val_steps"),
        ({"precision": "64-true"}, "trainer.precision=64-true"),
        ({"callbacks": [EMAWeightAveraging(decay=0.9)]}, "averaging weights"),
        ({"max_steps": 500}, "trainer.max_steps"),
        ({"min_steps": 500}, "trainer.min_steps"),
        ({"val_check_interval": 1}, "trainer.val_check_interval"),
        ({"val_check_interval": 0.5}, "trainer.val_check_interval"),
        ({"val_check_interval": "00:00:15:00"}, "trainer.val_check_interval"),
    ],
)
def test_trainers_of_which_a_pack_knows_nothing_are_refused(options, told, tmp_path):
    member = {"network": NETWORKS["lstm"], "seed": 1}
    (end,) = packed([member], [trainer_for(**options)], tmp_path)
    assert str(end) == f"{told} cannot be packed; choose hydra/launcher=slots"
