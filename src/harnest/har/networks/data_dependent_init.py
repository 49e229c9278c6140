"""Interface of networks that are initialized from the training windows."""

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class DataDependentInit(Protocol):
    """A network with constants that are computed from data, such as MiniRocket's thresholds.

    The constants must be buffers, so that checkpoints contain them.
    """

    def init_from_data(self, windows: Tensor, labels: Tensor) -> None:
        """Compute the constants; called once, before training.

        Args:
            windows: All training windows, normalized, (n, time, channels).
            labels: Their labels, (n,).
        """
