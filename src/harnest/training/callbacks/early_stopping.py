"""Early stopping, correct across a resume."""

from typing import Any

from pytorch_lightning import LightningModule, Trainer, callbacks


class EarlyStopping(callbacks.EarlyStopping):
    """Lightning's EarlyStopping, with the current config's patience after a resume.

    Lightning restores the patience from the checkpoint, and trains another epoch in a run whose
    patience is exhausted.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once if the patience was exhausted before."""
        if 0 < self.patience <= self.wait_count:
            trainer.should_stop = True

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best value, and for how long there has been no better one."""
        super().load_state_dict(state_dict | {"patience": self.patience})
