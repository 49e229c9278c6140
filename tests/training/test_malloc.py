"""Freed memory stays with the process that trains."""

import platform
import subprocess
import sys

import pytest

#: Prints how many pages the system gave to the process in one of the later training steps.
STEPS = """
import resource, sys, torch
from harnest.training.malloc import keep_freed_memory
from harnest.har.networks.lstm import LSTM

torch.set_num_threads(1)
if sys.argv[1] == "kept":
    keep_freed_memory()
network, x = LSTM(6, 7, hidden_size=64), torch.randn(64, 200, 6)
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    network(x).sum().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages(how: str) -> int:
    """Pages of a training step in a process of its own."""
    command = [sys.executable, "-c", STEPS, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_a_training_step_uses_the_memory_of_the_step_before() -> None:
    assert pages("kept") < 100 < 1000 < pages("returned")
