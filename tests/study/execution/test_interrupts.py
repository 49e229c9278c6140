"""Signals are heard, also where a library swallows them."""

import signal
from contextlib import suppress

import pytest

from harnest.study.execution.interrupts import Interrupts


def test_an_interrupt_that_is_swallowed_is_heard_the_next_time():
    interrupts = Interrupts()
    with interrupts.held():
        with interrupts.allowed(), suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), interrupts.allowed():
            pytest.fail("it was not heard")
        with interrupts.allowed():
            pass  # once
