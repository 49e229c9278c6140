"""Smooth random curves over a window."""

import torch
from torch import Tensor

KNOTS = 6
"""Number of knots of a curve, evenly spaced from the window's first step to its last."""


def smooth_curves(x: Tensor, curves: int) -> Tensor:
    """Return random curves around 0 for each window of ``x``, (batch, time, curves).

    The knots are independent standard normal values, with cubic interpolation between them.
    """
    knots = torch.randn(x.shape[0], curves, 1, KNOTS, device=x.device, dtype=x.dtype)
    size = (1, x.shape[1])
    curve = torch.nn.functional.interpolate(knots, size, mode="bicubic", align_corners=True)
    return curve[:, :, 0].transpose(1, 2)
