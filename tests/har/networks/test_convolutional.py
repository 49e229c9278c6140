"""What the convolutional networks are made of, as their papers have it."""

import pytest
import torch
from torch import nn

from harnest.core.errors import ConfigError
from harnest.har.networks.convlstm import ConvLSTM
from harnest.har.networks.deepconvlstm import DeepConvLSTM
from harnest.har.networks.fcn import FCN
from harnest.har.networks.inception import InceptionTime, Peak
from harnest.har.networks.resnet import ResNet
from harnest.har.networks.tcn import TCN
from harnest.har.networks.transformer import Transformer


def windows(time=30, channels=3):
    return torch.randn(4, time, channels, generator=torch.Generator().manual_seed(2))


def convolutions(network):
    """Inputs, filters and width of each convolution over time."""
    found = (module for module in network.modules() if isinstance(module, nn.Conv1d))
    return [(conv.in_channels, conv.out_channels, conv.kernel_size[0]) for conv in found]


def test_fcn_has_the_papers_convolutions():
    assert convolutions(FCN(3, 5)) == [(3, 128, 8), (128, 256, 5), (256, 128, 3)]


def test_resnet_has_the_papers_convolutions():
    assert convolutions(ResNet(3, 5)) == [
        *((3, 64, 8), (64, 64, 5), (64, 64, 3), (3, 64, 1)),
        *((64, 128, 8), (128, 128, 5), (128, 128, 3), (64, 128, 1)),
        *((128, 128, 8), (128, 128, 5), (128, 128, 3)),
    ]


def test_inception_modules_have_three_widths_and_a_maximum():
    first, second = convolutions(InceptionTime(3, 5))[:5], convolutions(InceptionTime(3, 5))[5:10]
    widths = [(32, 32, 41), (32, 32, 21), (32, 32, 11)]
    assert first == [(3, 32, 1), *widths, (3, 32, 1)]
    assert second == [(128, 32, 1), *widths, (128, 32, 1)]


def test_the_maximum_is_that_of_three_steps():
    x = windows().transpose(1, 2)
    torch.testing.assert_close(Peak()(x), nn.functional.max_pool1d(x, 3, stride=1, padding=1))


@pytest.mark.parametrize(("layers", "shortcuts"), [(1, 0), (3, 1), (5, 1), (6, 2)])
def test_inception_has_a_shortcut_over_each_three_modules(layers, shortcuts):
    network = InceptionTime(3, 5, hidden_size=4, layers=layers)
    assert len(network.shortcuts) == shortcuts
    assert network(windows()).shape == (4, 5)


def features_of(network, part, x):
    """What a part of the network gives."""
    seen = []
    handle = part.register_forward_hook(lambda module, given, result: seen.append(result))
    network(x)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("step", [0, 13, 29])
def test_a_tcn_does_not_look_ahead(step):
    network = TCN(3, 5, hidden_size=8, layers=3).eval()
    x = windows()
    changed = x.clone()
    changed[:, step] += 1
    before, after = (features_of(network, network.blocks, given) for given in (x, changed))
    same = (before == after).all(dim=(0, 1))
    assert same[:step].all()
    assert not same[step]


@pytest.mark.parametrize(("layers", "kernel_size"), [(1, 3), (2, 3), (3, 2), (2, 5)])
def test_a_tcn_reaches_as_far_back_as_it_says(layers, kernel_size):
    reach = 1 + 2 * (kernel_size - 1) * (2**layers - 1)
    network = TCN(1, 2, hidden_size=16, layers=layers, kernel_size=kernel_size).eval()
    x = windows(channels=1).requires_grad_()
    network(x).sum().backward()
    seen = (x.grad != 0).any(dim=(0, 2))
    assert seen[-reach:].any()
    assert seen[-reach]
    assert not seen[:-reach].any()


def test_deepconvlstm_convolves_each_channel_by_itself():
    network = DeepConvLSTM(3, 5, hidden_size=4, filters=6).eval()
    x = windows()
    changed = x.clone()
    changed[..., 1] += 1
    before, after = (features_of(network, network.convolutions, given) for given in (x, changed))
    assert before.shape == (4, 6, 30, 3)
    assert torch.equal(before[..., [0, 2]], after[..., [0, 2]])
    assert not torch.equal(before[..., 1], after[..., 1])


def test_a_convlstm_of_single_steps_is_an_lstm():
    """Then a convolution sees one step, and the parts are the steps."""
    network = ConvLSTM(3, 5, hidden_size=4, parts=30, kernel_size=1).eval()
    lstm = nn.LSTM(3, 4, batch_first=True)
    conv = network.cells[0].gates[1]
    # Ours are ordered input, forget, output, candidate; torch has the candidate third.
    order = torch.cat([torch.arange(4) + 4 * gate for gate in (0, 1, 3, 2)])
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(conv.weight[order, :3, 0])
        lstm.weight_hh_l0.copy_(conv.weight[order, 3:, 0])
        lstm.bias_ih_l0.copy_(conv.bias[order])
        lstm.bias_hh_l0.zero_()
        expected = network.head(lstm(windows())[1][0][-1])
    torch.testing.assert_close(network(windows()), expected)


def test_a_window_that_is_no_multiple_of_its_parts_begins_with_zeros():
    for network in (
        ConvLSTM(3, 5, hidden_size=4, parts=7).eval(),
        Transformer(3, 5, hidden_size=8, patch=7).eval(),
    ):
        padded = torch.cat([torch.zeros(4, 5, 3), windows()], dim=1)
        torch.testing.assert_close(network(windows()), network(padded))


def test_a_transformer_knows_the_order_of_its_patches():
    network = Transformer(3, 5, hidden_size=8, patch=5).eval()
    swapped = torch.cat([windows()[:, 15:], windows()[:, :15]], dim=1)
    assert not torch.allclose(network(windows()), network(swapped), atol=1e-4)


@pytest.mark.parametrize(("hidden_size", "near"), [(30, 32), (4, 8), (100, 96)])
def test_a_width_that_heads_cannot_share_is_refused(hidden_size, near):
    with pytest.raises(ConfigError, match=rf"hidden_size={hidden_size} .*heads=4, as {near} is"):
        Transformer(3, 5, hidden_size=hidden_size)


@pytest.mark.parametrize(
    ("network", "option"),
    [
        *((network, "kernel_size") for network in (InceptionTime, DeepConvLSTM, ConvLSTM, TCN)),
        *((DeepConvLSTM, "filters"), (ConvLSTM, "parts")),
        *((Transformer, "heads"), (Transformer, "patch")),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_counts_below_one_are_refused(network, option):
    with pytest.raises(ConfigError, match=f"{option}=0 cannot be used: it must be at least 1"):
        network(3, 5, **{option: 0})
