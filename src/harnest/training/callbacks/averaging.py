"""Stochastic weight averaging over the end of a run."""

from typing import Any

import pytorch_lightning as L
from pytorch_lightning.callbacks import WeightAveraging
from torch.optim.swa_utils import get_swa_avg_fn

from harnest.core.errors import ConfigError


class SWA(WeightAveraging):
    """Validates and keeps the mean of the weights at the end of each epoch, from ``start`` on.

    ``start`` is a share of the trainer's epochs; before it, the weights themselves are validated
    and kept. Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization",
    2018; statistics of batch normalisation are averaged with the weights, not taken anew. Raises
    `ConfigError` for a share that is none.
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
        """Add the weights to the mean; until the first epoch after ``start``, begin it anew."""
        if not trainer.is_last_batch:
            return
        assert self._average_model is not None
        assert trainer.max_epochs is not None
        if trainer.current_epoch < self.start * trainer.max_epochs + 1:
            self._average_model.n_averaged.zero_()
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
