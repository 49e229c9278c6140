"""Masks of dropout drawn in fewer bits than torch's, and recurrent layers with them between."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from harnest.har.networks.dropout import noise
from harnest.har.networks.recurrence import StackedGRU, StackedLSTM


@given(
    rate=st.floats(0, 0.99),
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_what_is_kept_makes_up_for_the_rest(rate, shape, dtype):
    found = noise(torch.empty(shape, dtype=dtype), rate)
    assert (list(found.shape), found.dtype) == (shape, dtype)
    kept = found[found != 0]
    assert torch.equal(kept, torch.full_like(kept, 1 / (1 - rate)))


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_each_number_is_dropped_at_the_rate_and_alone(rate):
    torch.manual_seed(0)
    zeros = (noise(torch.empty(1000, 1001), rate) == 0).double()
    # Four deviations of the mean of so many: of all, and of each place in a word of four.
    spread = 4 * (rate * (1 - rate) / zeros.numel()) ** 0.5
    assert zeros.mean() == pytest.approx(rate, abs=spread)
    for place in range(4):
        assert zeros.flatten()[place::4].mean() == pytest.approx(rate, abs=2 * spread)
    # A neighbour tells nothing: both are zeros at the rate's square.
    both = (zeros[:, 1:] * zeros[:, :-1]).mean()
    assert both == pytest.approx(rate**2, abs=2 * rate * spread)


def test_a_seed_draws_the_same_and_the_next_draw_is_another():
    x = torch.empty(50, 50)
    first, second = (noise(x, 0.5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    generator = torch.Generator().manual_seed(3)
    assert torch.equal(first, noise(x, 0.5, generator))
    assert not torch.equal(first, noise(x, 0.5, generator))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(("ours", "torchs"), [(StackedLSTM, nn.LSTM), (StackedGRU, nn.GRU)])
def test_a_stack_computes_what_torch_s_does_but_for_the_masks(
    ours, torchs, batch_first, bidirectional
):
    """At a rate that drops nothing here, outputs, states and gradients are the same."""
    options = {"num_layers": 3, "batch_first": batch_first, "bidirectional": bidirectional}
    stack = ours(4, 5, dropout=1e-9, **options)
    plain = torchs(4, 5, **options)
    plain.load_state_dict(stack.state_dict())
    x = torch.randn(6, 7, 4)
    found, wanted = flat(stack(x)), flat(plain(x))
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)
    for results in (found, wanted):
        sum(result.square().sum() for result in results).backward()
    for one, other in zip(stack.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("kind", [StackedLSTM, StackedGRU])
def test_a_stack_drops_between_layers_in_training_alone(kind):
    torch.manual_seed(0)
    stack = kind(4, 5, 2, dropout=0.5)
    x = torch.randn(6, 7, 4)
    assert not torch.equal(stack(x)[0], stack(x)[0])
    stack.eval()
    assert torch.equal(stack(x)[0], stack(x)[0])
    states = flat(stack(x))[1:]
    again = stack(x, tuple(states) if len(states) > 1 else states[0])[0]  # as torch takes them
    assert not torch.equal(again, stack(x)[0])


def flat(results):
    outputs, states = results
    return [outputs, *(states if isinstance(states, tuple) else (states,))]
