"""What every augmentation keeps, and what each of them does."""

import hydra
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harnest.core.errors import ConfigError
from harnest.core.paths import CONFIG_DIR
from harnest.har.augmentation.augment import Augment
from harnest.har.augmentation.base import Layout, triads
from harnest.har.augmentation.channel_dropout import ChannelDropout
from harnest.har.augmentation.jitter import Jitter
from harnest.har.augmentation.magnitude_warp import MagnitudeWarp
from harnest.har.augmentation.mirror import Mirror
from harnest.har.augmentation.mixup import Mixup
from harnest.har.augmentation.permutation import Permutation
from harnest.har.augmentation.rotation import Rotation
from harnest.har.augmentation.scaling import Scaling
from harnest.har.augmentation.time_warp import TimeWarp
from harnest.training.instantiate import build

SIGNAL = {
    "jitter": Jitter,
    "scaling": Scaling,
    "rotation": Rotation,
    "time_warp": TimeWarp,
    "magnitude_warp": MagnitudeWarp,
    "permutation": Permutation,
    "channel_dropout": ChannelDropout,
}
EVERY = SIGNAL | {"mixup": Mixup}
STRONG = {Permutation: 20, ChannelDropout: 0.7}  # of the others, 1 changes every window
TRIADS = ((0, 1, 2), (5, 4, 3))

each = pytest.mark.parametrize("make", SIGNAL.values(), ids=SIGNAL)
shapes = given(batch=st.integers(1, 9), time=st.integers(1, 60), seed=st.integers(0, 10**6))
briefly = settings(max_examples=20)


def windows(batch=8, time=50, channels=7, seed=0):
    return torch.randn(batch, time, channels, generator=torch.Generator().manual_seed(seed))


def layout(x, turning=TRIADS):
    channels = x.shape[2]
    return Layout(torch.linspace(-1, 1, channels), torch.linspace(0.5, 3, channels), turning)


def applied(augmentation, x, seed=0):
    torch.manual_seed(seed)
    return augmentation(x, layout(x))


@each
@shapes
@briefly
def test_shape_dtype_and_the_given_windows_are_kept(make, batch, time, seed):
    x = windows(batch, time, seed=seed)
    before = x.clone()
    changed = applied(make(), x, seed)
    assert changed.shape == x.shape
    assert changed.dtype == torch.float32
    assert changed.isfinite().all()
    assert torch.equal(x, before)


@each
@shapes
@briefly
def test_the_seed_alone_decides(make, batch, time, seed):
    x = windows(batch, time)
    assert torch.equal(applied(make(), x, seed), applied(make(), x, seed))


@each
def test_each_window_is_changed_in_its_own_way(make):
    x = windows(1).expand(20, -1, -1)
    changed = applied(make(STRONG.get(make, 1)), x)
    assert len(torch.unique(changed, dim=0)) > 10
    assert not torch.equal(applied(make(STRONG.get(make, 1)), x, 1), changed)


@each
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.0, 0.3, 1.0]))
@settings(max_examples=10)
def test_windows_are_changed_with_the_probability(make, seed, share):
    x = windows(400, 30)
    torch.manual_seed(seed)
    changed = Augment([make(STRONG.get(make, 1), share)]).windows(x, layout(x))
    different = (changed != x).flatten(1).any(dim=1).float().mean()
    assert different == pytest.approx(share, abs={0.0: 0, 0.3: 0.1, 1.0: 0.02}[share])


@pytest.mark.parametrize("name", [n for n in SIGNAL if n != "permutation"])
@shapes
@briefly
def test_without_strength_nothing_changes(name, batch, time, seed):
    x = windows(batch, time, seed=seed)
    torch.testing.assert_close(applied(SIGNAL[name](strength=0), x), x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    "options",
    [{"strength": -0.1}, {"probability": -0.1}, {"probability": 1.1}],
    ids=lambda options: str(*options.items()),
)
def test_options_that_cannot_be_meant_are_refused(name, options):
    ((key, value),) = options.items()
    with pytest.raises(ConfigError, match=rf"{key}={value} cannot be used: it must be"):
        EVERY[name](**options)


@pytest.mark.parametrize("name", [*EVERY, "mirror"])
def test_the_config_makes_the_augmentation_with_its_defaults(name):
    with hydra.initialize_config_dir(str(CONFIG_DIR)):
        cfg = hydra.compose("train", [f"augmentation={name}"])
    assert build(cfg.augmentation[name]) == (EVERY | {"mirror": made_mirror})[name]()


@pytest.mark.half_precision
def test_half_precision_does_not_blur_a_rotation():
    x = windows()
    augment = Augment([Rotation(probability=1)])
    torch.manual_seed(0)
    expected = augment.windows(x, layout(x))
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(augment.windows(x, layout(x)), expected)


# jitter


def test_jitter_is_noise_of_each_channels_own_size():
    x = windows(300, 40)
    noise = applied(Jitter(0.2), x) - x
    np.testing.assert_allclose(noise.mean(dim=(0, 1)), 0, atol=0.03)
    np.testing.assert_allclose(noise.std(dim=(0, 1)), 0.2 * layout(x).std, rtol=0.05)


# scaling


def test_scaling_is_one_factor_for_each_channel_of_a_window():
    x = windows(400, 10)
    factors = applied(Scaling(0.3), x) / x
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors), atol=1e-4, rtol=1e-4)
    assert factors.mean() == pytest.approx(1, abs=0.03)
    assert factors[:, 0].std() == pytest.approx(0.3, rel=0.1)


# rotation


@given(strength=st.floats(1, 180), seed=st.integers(0, 10**6), time=st.integers(1, 30))
@briefly
def test_rotation_keeps_lengths_and_angles(strength, seed, time):
    """Of each sensor, and between the sensors, which turn together."""
    x = windows(6, time, seed=seed)
    turned = applied(Rotation(strength), x, seed)
    for first in TRIADS:
        for second in TRIADS:
            before = (x[:, :, first] * x[:, :, second]).sum(dim=2)
            after = (turned[:, :, first] * turned[:, :, second]).sum(dim=2)
            torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)


def test_rotation_is_the_same_for_all_steps_and_leaves_other_channels():
    x = windows(20)
    turned = applied(Rotation(180), x)
    assert torch.equal(turned[..., 6], x[..., 6])
    for before, after in zip(x, turned, strict=True):
        matrix = torch.linalg.lstsq(before[:, :3], after[:, :3]).solution
        torch.testing.assert_close(before[:, :3] @ matrix, after[:, :3], atol=1e-4, rtol=0)
        assert torch.linalg.det(matrix) == pytest.approx(1, abs=1e-4)  # turned, not mirrored


@pytest.mark.parametrize("strength", [10, 60, 180])
def test_rotation_turns_by_the_strength_at_most_about_any_axis(strength):
    x = torch.eye(3).repeat(2000, 1, 1)
    torch.manual_seed(0)
    turned = Rotation(strength)(x, layout(x, turning=((0, 1, 2),)))
    trace = turned.diagonal(dim1=1, dim2=2).sum(dim=1)
    angles = ((trace - 1) / 2).clamp(-1, 1).acos().rad2deg()
    assert angles.max() <= strength + 0.1
    assert angles.max() > 0.97 * strength
    axes = torch.stack([turned[:, i, j] - turned[:, j, i] for i, j in ((1, 2), (2, 0), (0, 1))], 1)
    spread = torch.nn.functional.normalize(axes, dim=1).square().mean(dim=0)
    np.testing.assert_allclose(spread, 1 / 3, atol=0.03)


def test_rotation_without_three_axes_says_what_to_do():
    x = windows()
    with pytest.raises(ConfigError, match=r"augmentation\.rotation=null"):
        Rotation()(x, layout(x, turning=()))


# mirror


def made_mirror():
    return Mirror([0, 4, 5])  # a config has lists


def test_a_mirror_turns_signs_of_its_channels_alone():
    x = windows()
    mirrored = applied(Mirror(), x)
    assert torch.equal(mirrored[..., [0, 4, 5]], -x[..., [0, 4, 5]])
    assert torch.equal(mirrored[..., [1, 2, 3, 6]], x[..., [1, 2, 3, 6]])
    assert torch.equal(applied(Mirror(), mirrored), x)


def test_in_a_mirror_the_gyroscope_turns_as_a_mirrored_movement_does():
    """What turns by a rate w moves a point r by w x r; so does its image, in a mirror."""
    rate, point = torch.randn(2, 1, 9, 3, generator=torch.Generator().manual_seed(0))
    x = torch.cat([torch.linalg.cross(rate, point), rate], dim=2)
    mirrored = applied(Mirror(), x)
    image = point * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(mirrored[..., :3], torch.linalg.cross(mirrored[..., 3:], image))


def test_a_mirror_for_channels_that_are_not_there_is_refused():
    with pytest.raises(ConfigError, match="channels 0 to 2"):
        applied(Mirror(), windows(channels=3))


@pytest.mark.parametrize("probability", [-0.1, 1.1])
def test_a_mirror_without_a_probability_is_refused(probability):
    with pytest.raises(ConfigError, match="from 0 to 1"):
        Mirror(probability=probability)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ("acc_x acc_y acc_z gyro_x gyro_y gyro_z", ((0, 1, 2), (3, 4, 5))),
        ("acc_z gyro_x acc_x gyro_y acc_y gyro_z", ((2, 4, 0), (1, 3, 5))),
        ("body_acc_x body_acc_y body_acc_z gravity_x gravity_y gravity_z", ((0, 1, 2), (3, 4, 5))),
        (
            " ".join(
                f"{kind}_{axis}" for kind in ("total_acc", "body_acc", "gyro") for axis in "xyz"
            ),
            ((0, 1, 2), (3, 4, 5), (6, 7, 8)),
        ),
        ("accX accY accZ", ((0, 1, 2),)),
        ("x y z", ((0, 1, 2),)),
        ("acc_x acc_y heart", ()),
        ("", ()),
    ],
)
def test_triads_are_told_from_the_channels_names(names, found):
    assert triads((name, "g") for name in names.split()) == found


def test_a_triad_has_one_unit():
    assert triads([("a_x", "g"), ("a_y", "g"), ("a_z", "rad/s")]) == ()


# time warp


@shapes
@briefly
def test_time_warp_keeps_order_ends_and_range(batch, time, seed):
    ramp = torch.arange(time, dtype=torch.float32)[None, :, None].repeat(batch, 1, 2)
    warped = applied(TimeWarp(0.5), ramp, seed)
    assert torch.equal(warped[..., 0], warped[..., 1])
    assert (warped.diff(dim=1) > 0).all()
    torch.testing.assert_close(warped[:, 0], ramp[:, 0])
    torch.testing.assert_close(warped[:, -1], ramp[:, -1], atol=1e-3, rtol=0)


# magnitude warp


def test_magnitude_warp_is_a_smooth_curve_around_one():
    x = torch.ones(500, 100, 2)
    curves = applied(MagnitudeWarp(0.2), x)
    assert curves.mean() == pytest.approx(1, abs=0.02)
    assert curves[:, 0].std() == pytest.approx(0.2, rel=0.1)
    assert curves.diff(dim=1).abs().max() < 0.12
    assert not torch.allclose(curves[..., 0], curves[..., 1])


# permutation


@given(
    pieces=st.integers(1, 8),
    batch=st.integers(1, 5),
    time=st.integers(1, 60),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=40)
def test_permutation_keeps_every_step_and_at_most_so_many_pieces(pieces, batch, time, seed):
    ramp = torch.arange(time, dtype=torch.float32)[None, :, None].repeat(batch, 1, 3)
    mixed = applied(Permutation(pieces), ramp, seed)
    assert torch.equal(mixed.sort(dim=1).values, ramp)
    assert torch.equal(mixed[..., 0], mixed[..., 2])
    assert ((mixed.diff(dim=1) != 1).sum(dim=1) < pieces).all()


# channel dropout


@given(share=st.floats(0, 1), seed=st.integers(0, 10**6))
@briefly
def test_channel_dropout_takes_whole_channels(share, seed):
    x = windows(300)
    changed = applied(ChannelDropout(share), x, seed)
    missing = (changed == layout(x).mean).all(dim=1)
    assert ((changed == x).all(dim=1) | missing).all()
    assert missing.float().mean() == pytest.approx(share, abs=0.06)


# mixup


@given(strength=st.floats(0.05, 5), share=st.floats(0, 1), seed=st.integers(0, 10**6))
@briefly
def test_mixup_mixes_windows_and_targets_alike(strength, share, seed):
    """What a window is, is its label: so what it becomes must be its target."""
    labels = torch.randint(0, 4, (30,), generator=torch.Generator().manual_seed(seed))
    one_hot = torch.nn.functional.one_hot(labels, 4).float()
    torch.manual_seed(seed)
    x, targets = Mixup(strength, share)(one_hot[:, None].repeat(1, 5, 1), one_hot)
    torch.testing.assert_close(x, targets[:, None].expand_as(x))
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(30))
    assert targets.min() >= 0
    # The larger share is the window's own, so that accuracy on training windows means something.
    own = targets.gather(1, labels[:, None])
    assert (own >= 0.5 - 1e-6).all()
    if share == 0:
        assert torch.equal(targets, one_hot)


def test_a_large_strength_mixes_more():
    one_hot = torch.eye(400)
    torch.manual_seed(0)
    kept = [
        Mixup(strength, 1.0)(one_hot[:, None], one_hot)[1].amax(dim=1).mean()
        for strength in (0.1, 0.5, 4)
    ]
    assert kept[0] > kept[1] > kept[2]


def test_labels_stay_labels_without_mixup():
    x, labels = windows(), torch.arange(8)
    kept, targets = Augment([Jitter()]).mixed(x, labels, 8)
    assert targets is labels
    assert kept is x
