"""What every network has to do; a new one gets a line in NETWORKS."""

import warnings
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from half_precision import skip_unless_computed
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

# Small ones, since they are made and run hundreds of times.
NETWORKS = {
    "lstm": LSTM,
    "lstm-mean": partial(LSTM, pooling="mean"),
    "lstm-attention": partial(LSTM, pooling="attention"),
    "lstm-bidirectional": partial(LSTM, bidirectional=True),
    "lstm-all": partial(LSTM, layers=2, bidirectional=True, pooling="attention"),
    "gru": GRU,
    "gru-all": partial(GRU, layers=2, bidirectional=True, pooling="attention"),
    "fcn": partial(FCN, hidden_size=16),
    "resnet": partial(ResNet, hidden_size=8),
    "inception": partial(InceptionTime, hidden_size=4),
    "deepconvlstm": partial(DeepConvLSTM, hidden_size=16, filters=8),
    "cnn_lstm": partial(CNNLSTM, hidden_size=8, filters=8),
    "cnn_lstm-rescaled": partial(CNNLSTM, hidden_size=8, filters=8, rescaled=True),
    "convlstm": partial(ConvLSTM, hidden_size=16),
    "convlstm-stacked": partial(ConvLSTM, hidden_size=8, layers=2, parts=4, kernel_size=4),
    "transformer": partial(Transformer, hidden_size=32, layers=2),
    "tcn": partial(TCN, hidden_size=16),
    "tcn-attention": partial(TCN, hidden_size=16, layers=3, pooling="attention"),
    "minirocket": partial(MiniRocket, features=1000),
    "minirocket-differences": partial(MiniRocket, features=1000, differences=True),
}

pytestmark = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def windows(batch=4, time=20, channels=3):
    return torch.randn(batch, time, channels, generator=torch.Generator().manual_seed(1))


@given(
    batch=st.integers(1, 5),
    time=st.integers(1, 40),
    channels=st.integers(1, 9),
    classes=st.integers(2, 12),
    dropout=st.sampled_from([0.0, 0.3]),
)
@settings(max_examples=25)
def test_windows_of_any_shape_give_one_logit_per_class(
    make, batch, time, channels, classes, dropout
):
    network = make(channels, classes, dropout=dropout)
    # Of a single step, or of two made one, nothing can be told about how a batch is spread.
    network.train(batch * time > 2)
    logits = network(windows(batch, time, channels))
    assert logits.shape == (batch, classes)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


def test_the_gradient_reaches_every_parameter(make):
    network = make(3, 5)
    torch.nn.functional.cross_entropy(network(windows()), torch.tensor([0, 1, 2, 4])).backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


def test_every_window_is_seen_by_itself(make):
    network = make(3, 5, dropout=0.5).eval()
    together = network(windows())
    alone = torch.cat([network(window[None]) for window in windows()])
    torch.testing.assert_close(together, alone)


def test_the_first_and_the_last_step_both_matter(make):
    network = make(3, 5).eval()
    for step in (0, -1):
        changed = windows()
        changed[:, step] += 3
        assert (network(changed) != network(windows())).any(dim=1).all()


@pytest.mark.half_precision
def test_mixed_precision_gives_nearly_the_same(make):
    network = make(3, 5).eval()
    skip_unless_computed(network, windows(), "bf16-mixed")
    expected = network(windows())
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(network(windows()).float(), expected, atol=0.03, rtol=0.05)


@pytest.mark.half_precision
def test_half_precision_gives_nearly_the_same(make):
    network = make(3, 5).eval()
    skip_unless_computed(network, windows(), "bf16-true")
    expected = network(windows())
    logits = network.bfloat16()(windows().bfloat16())
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), expected, atol=0.03, rtol=0.05)


def test_evaluation_repeats_itself_and_training_drops_features(make):
    network = make(3, 5, dropout=0.5)
    assert not torch.equal(network(windows()), network(windows()))
    network.eval()
    assert torch.equal(network(windows()), network(windows()))
    without = make(3, 5, dropout=0.0)
    assert torch.equal(without(windows()), without(windows()))


def test_the_seed_alone_decides_the_first_weights(make):
    def weights(seed):
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in make(3, 5).parameters()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_it_can_be_exported(make):
    network = make(3, 5, dropout=0.5).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecations
        exported = torch.export.export(network, (windows(),), dynamic_shapes=({0: batch},))
    for count in (1, 7):
        torch.testing.assert_close(exported.module()(windows(count)), network(windows(count)))
