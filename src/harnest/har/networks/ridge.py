"""Ridge regression in closed form."""

import torch
from torch import Tensor, nn


def ridge(features: Tensor, labels: Tensor, classes: int, penalty: float) -> tuple[Tensor, Tensor]:
    """Weights (classes, features) and bias (classes,) of a classifier by least squares.

    Each class is told from the others by targets of 1 and -1; ``penalty`` times the weights'
    squares is added, the bias is free (Hoerl & Kennard 1970). Takes ``features`` (n, features) and
    ``labels`` (n,). Solved over the windows or over the features, whichever are fewer.
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
