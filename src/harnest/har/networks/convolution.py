"""Building block of the convolutional networks."""

from torch import nn


def convolution(inputs: int, filters: int, width: int) -> nn.Sequential:
    """Return a convolution over time with batch normalization.

    Maps (batch, inputs, time) to (batch, filters, time). It has no bias, since the normalization
    removes any constant.

    Args:
        inputs: Input channels.
        filters: Output channels.
        width: Kernel size [steps]. For an even one the window is padded by one more step at its
            end.
    """
    return nn.Sequential(
        nn.ConstantPad1d(((width - 1) // 2, width // 2), 0.0),
        nn.Conv1d(inputs, filters, width, bias=False),
        nn.BatchNorm1d(filters),
    )
