"""Tests that compute in half precision: skipped where the CPU cannot."""

import pytest
import pytorch_lightning as L

from harnest.core.silence_libraries import silence_libraries
from harnest.training.precision import precision_error


def skip_unless_computed(network, windows, precision):
    """Skip the test where this CPU cannot compute ``network`` in ``precision``."""
    silence_libraries()
    trainer = L.Trainer(
        accelerator="cpu", precision=precision, logger=False, enable_checkpointing=False
    )
    if (why := precision_error(trainer, network, windows)) is not None:
        name = type(network).__name__
        pytest.skip(f"this CPU does not compute {name} in {precision}: {why}")
