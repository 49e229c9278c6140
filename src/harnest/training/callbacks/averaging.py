"""Stochastic weight averaging over the end of a run."""

from typing import Any

import pytorch_lightning as L
from pytorch_lightning.callbacks import WeightAveraging
from torch.optim.swa_utils import get_swa_avg_fn

from harnest.core.errors import ConfigError


class SWA(WeightAveraging):
    """Stochastic weight averaging: validates and saves the mean of the weights of each epoch.

    Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018.
    Statistics of batch normalization are averaged with the weights, not recomputed.

    Args:
        start: Share of the trainer's epochs after which averaging starts. Before it, the weights
            themselves are validated and saved.

    Raises:
        ConfigError: ``start`` is not in [0, 1).
    """

    def __init__(self, start: float = 0.5) -> None:
        if not 0 <= start < 1:
            raise ConfigError(f"start={start} cannot be used: it must be at least 0 and below 1")
        # By itself torch takes kernels on a GPU that refuse whole numbers, as batch norm counts.
        super().__init__(avg_fn=get_swa_avg_fn())  # type: ignore[no-untyped-call]
        self.start = start

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Update the mean; restart it until the first epoch after ``start``."""
        if not trainer.is_last_batch:
            return
        assert self._average_model is not None
        assert trainer.max_epochs is not None
        if trainer.current_epoch < self.start * trainer.max_epochs + 1:
            self._average_model.n_averaged.zero_()
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
