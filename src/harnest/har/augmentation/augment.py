"""Application of a run's augmentations to batches."""

from collections.abc import Sequence

import torch
from torch import Tensor

from harnest.har.augmentation.base import Augmentation, Layout
from harnest.har.augmentation.mixup import Mixup


class Augment:
    """Applies ``members`` in order, but mixup, which also changes the targets, last."""

    def __init__(self, members: Sequence[Augmentation | Mixup]) -> None:
        self.signal = [member for member in members if not isinstance(member, Mixup)]
        self.mixups = [member for member in members if isinstance(member, Mixup)]

    @torch.no_grad()
    def windows(self, x: Tensor, layout: Layout) -> Tensor:
        """Return the augmented windows, (batch, time, channels), without mixup."""
        with torch.autocast(x.device.type, enabled=False):
            for member in self.signal:
                chosen = torch.rand_like(x[:, :1, :1]) < member.probability
                x = torch.where(chosen, member(x, layout), x)
        return x

    @torch.no_grad()
    def mixed(self, x: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """Return the mixed windows and targets: labels (batch,), or with mixup (batch, classes)."""
        if not self.mixups:
            return x, labels
        targets = torch.nn.functional.one_hot(labels, classes).to(x)
        for mixup in self.mixups:
            x, targets = mixup(x, targets)
        return x, targets
