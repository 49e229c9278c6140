"""How recurrent layers begin."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from harnest.har.networks.cnn_lstm import CNNLSTM
from harnest.har.networks.deepconvlstm import DeepConvLSTM
from harnest.har.networks.gru import GRU
from harnest.har.networks.lstm import LSTM
from harnest.har.networks.recurrent_init import init_recurrent


def recurrence_of(make: Callable[..., nn.Module], **options: object) -> nn.RNNBase:
    network = make(6, 5, hidden_size=8, **options)
    (found,) = (part for part in network.modules() if isinstance(part, nn.RNNBase))
    return found


def reached(recurrence: nn.LSTM, steps: int) -> float:
    """How much of what the first step shows is still in the last state."""
    x = torch.randn(16, steps, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    outputs: Tensor = recurrence(x)[0]
    outputs[:, -1].square().sum().backward()
    assert x.grad is not None
    return float(x.grad[:, 0].norm())


@pytest.mark.parametrize(
    "recurrence",
    [
        recurrence_of(LSTM, layers=2, bidirectional=True),
        recurrence_of(GRU, layers=2),
        recurrence_of(CNNLSTM),
        recurrence_of(DeepConvLSTM),
    ],
    ids=["LSTM", "GRU", "CNN-LSTM", "DeepConvLSTM"],
)
def test_each_gate_turns_the_last_state_and_makes_it_no_larger(recurrence: nn.RNNBase) -> None:
    hidden = [weights for name, weights in recurrence.named_parameters() if "weight_hh" in name]
    for gate in (gate for weights in hidden for gate in weights.split(8)):
        torch.testing.assert_close(gate @ gate.T, torch.eye(8))


def test_an_lstm_begins_by_forgetting_little() -> None:
    biases = dict(recurrence_of(LSTM).named_parameters())
    both = biases["bias_ih_l0"] + biases["bias_hh_l0"]
    assert both.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16


def test_a_window_s_beginning_reaches_its_end() -> None:
    torch.manual_seed(0)
    as_torch_has_it = nn.LSTM(6, 32, batch_first=True)
    ours = nn.LSTM(6, 32, batch_first=True)
    init_recurrent(ours)
    assert reached(ours, 64) > 1000 * reached(as_torch_has_it, 64)
