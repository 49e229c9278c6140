"""Steps that a GPU repeats as one graph: what they would give kernel by kernel."""

from functools import partial

import pytest
import torch
from test_pack import NETWORKS, alone, assert_same, packed, trainer_for
from torch.optim import AdamW

from harnest.har.packed import cuda_graph
from harnest.har.packed.cuda_graph import CudaGraph


def test_on_a_processor_it_is_the_function():
    total = torch.zeros(2)
    add = CudaGraph(lambda x: (total.add_(x).clone(),), torch.device("cpu"))
    assert [add(torch.ones(2))[0].tolist() for _ in range(6)] == [[n, n] for n in range(1, 7)]


on_a_gpu = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU"),
    pytest.mark.xdist_group("gpu"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),
    pytest.mark.filterwarnings("ignore:.*performance drop.*"),
]


def gpu(test):
    for mark in on_a_gpu:
        test = mark(test)
    return test


@gpu
def test_it_repeats_what_changes_and_what_is_drawn():
    device = torch.device("cuda")
    generator = torch.Generator(device)
    total = torch.zeros(4, device=device)

    def function(x):
        total.add_(x)
        return total * 2, torch.empty_like(x).bernoulli_(0.5, generator=generator)

    def calls(graphed):
        total.zero_()
        generator.manual_seed(1)
        sizes = [4] * 8 + [1] + [4]  # one call in another shape
        return [one.tolist() for n, size in enumerate(sizes) for one in graphed(rows(n, size))]

    def rows(n, size):
        return torch.full((size,), float(n), device=device)

    graphed = CudaGraph(function, device, [generator])
    expected = calls(function)
    assert calls(graphed) == expected
    assert graphed.graph is not None
    assert calls(graphed) == expected


@gpu
@pytest.mark.parametrize("name", NETWORKS)
def test_a_pack_learns_by_graph_what_it_learns_without(name, tmp_path, monkeypatch):
    """To the last digit, dropout included; and, without dropout, what each learns alone."""
    members = [
        {
            "network": partial(NETWORKS[name], dropout=dropout),
            "optimizer": partial(AdamW, lr=lr, weight_decay=0.01),
            "seed": seed,
        }
        for lr, seed, dropout in ((1e-2, 1, 0.0), (3e-3, 2, 0.3))
    ]

    def trainers():
        options = {"accelerator": "gpu", "devices": 1, "deterministic": True}
        return [trainer_for(5, **options) for _ in members]  # validation is recorded in the fourth

    # Alone and in a pack, sums are rounded in another order; to TensorFloat-32 it would be seen.
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)

    by_graph = packed(members, trainers(), tmp_path)
    single = alone(members[0], trainers()[0])
    monkeypatch.setattr(cuda_graph, "_WARM", 10**9)
    plain = packed(members, trainers(), tmp_path)
    torch.use_deterministic_algorithms(False)
    for (model, metrics), (expected, wanted) in zip(by_graph, plain, strict=True):
        assert metrics == wanted
        for key, value in expected.state_dict().items():
            assert torch.equal(model.state_dict()[key], value), key
    assert_same(by_graph[0], single)
