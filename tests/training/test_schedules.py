"""Learning rates over a run."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harnest.core.errors import ConfigError
from harnest.training.schedules import warmup_cosine


def rates(total_steps, **options):
    """The learning rate of each step, where the optimizer's is 2."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    scheduler = warmup_cosine(optimizer, total_steps, **options)
    found = []
    for _ in range(total_steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return [*found, optimizer.param_groups[0]["lr"]]


def test_it_rises_evenly_and_falls_along_half_a_cosine():
    *rising, top, down, bottom = rates(8, warmup=0.5, final=0.1)[:5] + rates(8, warmup=0.5)[6::2]
    assert rising == pytest.approx([2 * step / 5 for step in (1, 2, 3, 4)])
    assert top == pytest.approx(2)
    assert down == pytest.approx(1)
    assert bottom == pytest.approx(0)


@given(
    total=st.integers(1, 200),
    warmup=st.floats(0, 0.99),
    final=st.floats(0, 1),
)
@settings(max_examples=60)
def test_it_rises_once_and_ends_at_the_final_share(total, warmup, final):
    found = rates(total, warmup=warmup, final=final)
    assert all(0 <= rate <= 2 + 1e-9 for rate in found)
    assert found[-1] == pytest.approx(2 * final if round(warmup * total) < total else found[-1])
    top = found.index(max(found))
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)


def test_without_warm_up_it_is_torchs_cosine():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    for rate in rates(20, warmup=0):
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        cosine.step()


@pytest.mark.parametrize(
    "options", [{"warmup": 1.0}, {"warmup": -0.1}, {"final": 1.1}, {"warmup": math.nan}]
)
def test_shares_that_are_none_are_refused(options):
    with pytest.raises(ConfigError, match="cannot be used: it must be"):
        rates(10, **options)
