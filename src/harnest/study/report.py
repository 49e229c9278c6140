"""The one link between Lightning and the study: each epoch's objective goes to the trial."""

from typing import Any

import pytorch_lightning as L
from pytorch_lightning.callbacks import Checkpoint

from harnest.study.trial import Trial


class ReportToTrial(Checkpoint):
    """Reports ``metric`` at each epoch's end, and stops training when the trial is pruned.

    Of several validations in an epoch the last one counts; an epoch without any has no ``val/``
    metric to report. A trial that goes on from another one's checkpoint reports what that had.

    It keeps no files: to Lightning it is one of the checkpoints, since of all callbacks those hear
    of an epoch's end last, when the training metrics are known. It comes before those that write
    files, so that these know of the epoch.
    """

    def __init__(self, trial: Trial, metric: str) -> None:
        self.trial = trial
        self.metric = metric
        self.is_validated = False
        self.reported: dict[int, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """What was reported, by epoch."""
        return {"reported": self.reported}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Report what was reported before: a pruner judges a trial by its best epoch."""
        for epoch, value in state_dict["reported"].items():
            self._report(value, epoch)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take note of it, unless it was of the untrained network."""
        self.is_validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report, then ask whether to go on; after the last epoch there is nothing to save."""
        if self.metric.startswith("val/") and not self.is_validated:
            return  # what Lightning has of it is an earlier epoch's
        self.is_validated = False
        self._report(float(trainer.callback_metrics[self.metric]), trainer.current_epoch)
        is_last = trainer.current_epoch + 1 == trainer.max_epochs
        if not is_last and self.trial.should_prune():
            trainer.should_stop = True

    def _report(self, value: float, epoch: int) -> None:
        self.trial.report(value, epoch)
        self.reported[epoch] = value
