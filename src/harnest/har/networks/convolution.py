"""The convolution block that several networks share."""

from torch import nn


def convolution(inputs: int, filters: int, width: int) -> nn.Sequential:
    """Convolve over time and normalise: (batch, inputs, time) to (batch, filters, time).

    ``width`` is in steps and may be even: the window is padded by hand, one step more at its end.
    Without bias, since the normalisation takes every constant away.
    """
    return nn.Sequential(
        nn.ConstantPad1d(((width - 1) // 2, width // 2), 0.0),
        nn.Conv1d(inputs, filters, width, bias=False),
        nn.BatchNorm1d(filters),
    )
