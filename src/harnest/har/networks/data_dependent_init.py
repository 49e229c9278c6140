"""The protocol of networks that are initialized from training windows."""

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class DataDependentInit(Protocol):
    """A network with constants that come from data, as MiniRocket's thresholds do.

    They belong into buffers: a checkpoint then carries them, and loading one replaces them.
    """

    def init_from_data(self, windows: Tensor, labels: Tensor) -> None:
        """Set them from all training windows, normalised, (n, time, channels), and labels, (n,).

        Called once.
        """
