"""What the options of recurrent networks do, each against a plain computation."""

import numpy as np
import pytest
import torch

from harnest.core.errors import ConfigError
from harnest.har.networks.gru import GRU
from harnest.har.networks.lstm import LSTM

HIDDEN = 6

pytestmark = pytest.mark.parametrize("recurrent", [LSTM, GRU])


@pytest.fixture
def windows():
    return torch.randn(4, 15, 3, generator=torch.Generator().manual_seed(2))


def layers_of(network):
    """Torch's own layers inside."""
    return network.lstm if isinstance(network, LSTM) else network.gru


def outputs_of(network, x):
    """The recurrent outputs, forward and backward: (batch, time, hidden) each."""
    outputs = layers_of(network)(x)[0]
    return outputs[..., :HIDDEN], outputs[..., HIDDEN:]


def pooled_by(network, x):
    """What the last layer is given."""
    seen = []
    network.head.register_forward_hook(lambda module, given, result: seen.append(given[0]))
    network(x)
    return seen[0]


@pytest.mark.parametrize("layers", [1, 2])
def test_last_takes_the_final_state(recurrent, windows, layers):
    network = recurrent(3, 5, hidden_size=HIDDEN, layers=layers, pooling="last").eval()
    forward, _ = outputs_of(network, windows)
    assert torch.equal(pooled_by(network, windows), forward[:, -1])


@pytest.mark.parametrize("layers", [1, 2])
def test_last_takes_the_final_state_of_each_direction(recurrent, windows, layers):
    options = {"hidden_size": HIDDEN, "layers": layers, "bidirectional": True}
    network = recurrent(3, 5, **options, pooling="last").eval()
    forward, backward = outputs_of(network, windows)
    # The backward direction begins at the end: its final state belongs to the first step.
    assert torch.equal(
        pooled_by(network, windows), torch.cat([forward[:, -1], backward[:, 0]], dim=1)
    )


@pytest.mark.parametrize("bidirectional", [False, True])
def test_mean_averages_the_outputs(recurrent, windows, bidirectional):
    options = {"hidden_size": HIDDEN, "bidirectional": bidirectional, "pooling": "mean"}
    network = recurrent(3, 5, **options).eval()
    steps = torch.cat(outputs_of(network, windows), dim=2)
    average = sum(steps[:, t] for t in range(15)) / 15
    torch.testing.assert_close(pooled_by(network, windows), average)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_attention_weighs_the_outputs_by_a_learned_score(recurrent, windows, bidirectional):
    options = {"hidden_size": HIDDEN, "bidirectional": bidirectional, "pooling": "attention"}
    network = recurrent(3, 5, **options).eval()
    inner, _, outer = network.score
    weight, bias, context = (p.detach().numpy() for p in (*inner.parameters(), *outer.parameters()))
    steps = torch.cat(outputs_of(network, windows), dim=2).detach().numpy()
    expected = []
    for window in steps:
        scores = np.array([context[0] @ np.tanh(weight @ step + bias) for step in window])
        shares = np.exp(scores) / np.exp(scores).sum()
        expected.append(shares @ window)
    torch.testing.assert_close(pooled_by(network, windows), torch.tensor(np.stack(expected)))


def test_dropout_zeroes_its_share_of_the_features_with_a_single_layer(recurrent, windows):
    network = recurrent(3, 5, hidden_size=500, dropout=0.3)
    forward = layers_of(network)(windows)[0][:, -1]
    features = pooled_by(network, windows)
    kept = features != 0
    assert kept.float().mean() == pytest.approx(0.7, abs=0.05)
    torch.testing.assert_close(features[kept], forward[kept] / 0.7)


def test_dropout_acts_between_two_layers_too(recurrent, windows):
    seen = []
    network = recurrent(3, 5, layers=2, dropout=0.5)
    network.dropout.register_forward_hook(lambda module, given, result: seen.append(given[0]))
    for _ in range(2):
        network(windows)
    assert not torch.equal(*seen)
    network.eval()
    seen.clear()
    for _ in range(2):
        network(windows)
    assert torch.equal(*seen)


@pytest.mark.parametrize("pooling", ["max", "", None])
def test_an_unknown_pooling_is_refused(recurrent, pooling):
    with pytest.raises(ConfigError, match="choose last, mean or attention"):
        recurrent(3, 5, pooling=pooling)
