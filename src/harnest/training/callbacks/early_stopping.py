"""Early stopping, correct across a resume."""

from typing import Any

from pytorch_lightning import LightningModule, Trainer, callbacks


class EarlyStopping(callbacks.EarlyStopping):
    """Lightning's callback, for runs that go on.

    Lightning's own takes the checkpoint's patience, so that a run that has lost it could not be
    given more, and trains one that is not given more for another epoch.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End a run at once that has lost its patience before."""
        if 0 < self.patience <= self.wait_count:
            trainer.should_stop = True

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best value, and for how long there has been no better one."""
        super().load_state_dict(state_dict | {"patience": self.patience})
