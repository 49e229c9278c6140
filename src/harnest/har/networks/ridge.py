"""Ridge regression in closed form."""

import torch
from torch import Tensor, nn


def ridge(features: Tensor, labels: Tensor, classes: int, penalty: float) -> tuple[Tensor, Tensor]:
    """Fit a linear classifier by ridge regression (Hoerl & Kennard 1970).

    The targets are 1 for a window's class and -1 for the others. The bias is not penalized. The
    system is solved over the windows or over the features, whichever are fewer.

    Args:
        features: (n, features).
        labels: (n,).
        classes: Number of classes.
        penalty: Factor of the squared weights.

    Returns:
        Weights (classes, features) and bias (classes,).
    """
    targets = nn.functional.one_hot(labels, classes).to(torch.float64) * 2 - 1
    center, middle = features.mean(dim=0), targets.mean(dim=0)
    x, y = features - center, targets - middle
    over_windows = len(x) <= x.shape[1]
    gram = (x @ x.T if over_windows else x.T @ x).to(torch.float64)
    gram.diagonal().add_(penalty)
    lower = torch.linalg.cholesky(gram)
    if over_windows:
        weights = x.T @ torch.cholesky_solve(y, lower).to(x)
    else:
        weights = torch.cholesky_solve((x.T @ y.to(x)).to(torch.float64), lower).to(x)
    return weights.T, middle.to(x) - center @ weights
