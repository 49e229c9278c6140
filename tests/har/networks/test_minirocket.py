"""MiniRocket's features, against the definition, one loop at a time."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from harnest.core.errors import ConfigError
from harnest.har.networks.minirocket import MiniRocket, dilations, golden_ratios


@pytest.fixture
def windows():
    return torch.randn(60, 40, 3, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def labels(windows):
    """What can be told from a window: whether its first channel rises."""
    return (windows[:, 20:, 0].mean(dim=1) > windows[:, :20, 0].mean(dim=1)).long()


@pytest.fixture
def network(windows, labels):
    torch.manual_seed(0)
    made = MiniRocket(3, 5, features=84 * 12)
    made.init_from_data(windows, labels)
    return made.eval()


def features(network, x):
    """What the linear layer is given."""
    seen = []
    handle = network.head.register_forward_hook(lambda module, given, result: seen.append(given[0]))
    network(x)
    handle.remove()
    return seen[0]


def responses(network, window, index, dilation, kernel, triple):
    """A kernel's sums at each step, and those at which all of it lies inside the window."""
    signal = window[:, network.mix[index, kernel].bool().numpy()].sum(axis=1)
    places = np.arange(-4, 5) * dilation
    weights = np.full(9, -1.0)
    weights[list(triple)] = 2
    sums, inside = [], []
    for step in range(len(signal)):
        values = [
            signal[step + place] if 0 <= step + place < len(signal) else 0 for place in places
        ]
        sums.append(weights @ values)
        inside.append(step + places[0] >= 0 and step + places[-1] < len(signal))
    return np.array(sums), np.array(inside)


def test_features_are_shares_of_steps_above_the_thresholds(network, windows):
    raw = features(network, windows[:2]) * network.spread + network.center
    for window, shares in zip(windows[:2].double().numpy(), raw.view(2, -1).numpy(), strict=True):
        expected = [[] for _ in range(84)]
        done = 0
        for index, (dilation, count) in enumerate(dilations(40, 12)):
            for kernel, triple in enumerate(combinations(range(9), 3)):
                sums, inside = responses(network, window, index, dilation, kernel, triple)
                if (index + kernel) % 2:
                    sums = sums[inside]
                for threshold in network.thresholds[kernel, done : done + count]:
                    expected[kernel].append((sums > float(threshold)).mean())
            done += count
        np.testing.assert_allclose(shares, np.ravel(expected), atol=1e-5)


def test_thresholds_are_quantiles_of_training_windows(network, windows):
    """Of one window each, spread over 0 to 1: on average half of the steps lie above."""
    raw = features(network, windows) * network.spread + network.center
    assert raw.mean() == pytest.approx(0.5, abs=0.03)
    assert raw.mean(dim=0).std() > 0.2
    assert raw.min() >= -1e-6
    assert raw.max() <= 1 + 1e-6


def test_features_are_standardised(network, windows):
    given = features(network, windows)
    np.testing.assert_allclose(given.mean(dim=0), 0, atol=1e-4)
    deviation = given.std(dim=0, correction=0)
    usual = network.spread > 1 / 40  # a share that moves by more than one step
    assert usual.float().mean() > 0.9
    assert ((deviation - 1).abs() < 1e-3)[usual].all()
    assert (deviation[~usual] <= 1).all()


def test_a_checkpoint_carries_what_was_calibrated(network, windows):
    torch.manual_seed(1)
    other = MiniRocket(3, 5, features=84 * 12).eval()
    assert not torch.allclose(other(windows), network(windows))
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(windows), network(windows))


def test_the_seed_alone_decides_what_is_calibrated(windows, labels):
    def thresholds(seed):
        torch.manual_seed(seed)
        made = MiniRocket(3, 5, features=200)
        made.init_from_data(windows, labels)
        return made.thresholds

    assert torch.equal(thresholds(1), thresholds(1))
    assert not torch.equal(thresholds(1), thresholds(2))


def test_only_the_linear_layer_is_trained(network):
    assert {name for name, _ in network.named_parameters()} == {"head.weight", "head.bias"}


def test_a_signal_that_never_changes_can_be_calibrated_with():
    made = MiniRocket(2, 3, features=84)
    made.init_from_data(torch.zeros(5, 20, 2), torch.arange(5) % 3)
    assert made(torch.randn(4, 20, 2)).isfinite().all()


def test_differences_are_channels_of_the_same_deviation(windows, labels):
    made = MiniRocket(3, 5, features=84, differences=True)
    made.init_from_data(3 * windows, labels)
    sums = made._sources(3 * windows)
    assert sums.shape == (60, 40, 6)
    assert torch.equal(sums[..., :3], 3 * windows)
    expected = (3 * windows).diff(dim=1) / (3 * windows).diff(dim=1).std(dim=(0, 1))
    torch.testing.assert_close(sums[:, 1:, 3:], expected)
    assert not sums[:, 0, 3:].any()


@pytest.mark.parametrize("features", [84, 840])  # more windows than features, and fewer
def test_the_linear_layer_is_solved_as_scikit_learn_does(windows, labels, features):
    made = MiniRocket(3, 2, features=features, ridge=7.0)
    made.init_from_data(windows, labels)
    given = made.eval().head
    seen = {}
    given.register_forward_hook(lambda module, args, result: seen.update(x=args[0], y=result))
    logits = made(windows)
    theirs = Ridge(alpha=7.0).fit(seen["x"], torch.nn.functional.one_hot(labels) * 2 - 1)
    np.testing.assert_allclose(seen["y"].detach(), theirs.predict(seen["x"]), atol=1e-4)
    np.testing.assert_allclose(logits.detach(), seen["y"].detach())  # a factor of 1, as yet


def test_of_a_solved_layer_only_the_factor_is_trained(windows, labels):
    made = MiniRocket(3, 2, features=840, ridge=1.0)
    made.init_from_data(windows, labels)
    assert (made.eval()(windows).argmax(dim=1) == labels).float().mean() > 0.9
    assert {name for name, p in made.named_parameters() if p.requires_grad} == {"factor"}


@pytest.mark.parametrize("ridge", [0.0, -1.0])
def test_a_penalty_that_is_none_is_refused(ridge):
    with pytest.raises(ConfigError, match="above 0"):
        MiniRocket(3, 5, ridge=ridge)


@given(length=st.integers(1, 600), each=st.integers(1, 150))
@settings(max_examples=60)
@example(length=128, each=119)
def test_dilations_fit_into_the_window_and_share_the_features(length, each):
    found = dilations(length, each)
    assert sum(count for _, count in found) == each
    assert all(count >= 1 for _, count in found)
    spans = [8 * dilation for dilation, _ in found]
    assert spans == sorted(set(spans))
    assert all(span <= max(8, length - 1) for span in spans)
    assert len(found) <= 32


def test_any_few_golden_ratios_in_a_row_are_spread():
    values = golden_ratios(1000).numpy()
    for start in range(0, 990, 7):
        few = np.sort(values[start : start + 8])
        gaps = np.diff([0, *few, 1])
        assert gaps.max() < 0.3


def test_too_few_features_are_refused():
    with pytest.raises(ConfigError, match="at least 84"):
        MiniRocket(3, 5, features=83)
