"""Reports each epoch's objective to the study, and stops pruned trials."""

from typing import Any

import pytorch_lightning as L
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities import rank_zero_warn

from harnest.study.trial import Trial


class PruningCallback(Checkpoint):
    """Reports a metric after each epoch, and stops training when the trial is pruned.

    The last validation of an epoch counts; an epoch that does not log the metric reports nothing. A
    trial that resumes another one's checkpoint reports the values of that one first.

    It saves no files. It derives from Checkpoint because Lightning calls checkpoint callbacks last,
    when the training metrics are known, and comes before the other checkpoints, so that their files
    contain the epoch.

    Args:
        trial: The trial to report to; None: outside a study, the callback does nothing.
        metric: Name of a logged metric.
    """

    def __init__(self, trial: Trial | None, metric: str) -> None:
        self.trial = trial
        self.metric = metric
        self.seen: Any = None
        self.reported: dict[int, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """The reported values, by epoch."""
        return {"reported": self.reported}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Report what was reported before: a pruner judges a trial by its best epoch."""
        for epoch, value in state_dict["reported"].items():
            self._report(value, epoch)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report, then stop if the trial is pruned."""
        value = trainer.callback_metrics.get(self.metric)
        # Lightning keeps what an earlier epoch has logged: the very same object.
        if self.trial is None or value is None or value is self.seen:
            return
        self.seen = value
        self._report(float(value), trainer.current_epoch)
        is_last = trainer.current_epoch + 1 == trainer.max_epochs
        if not is_last and self.trial.should_prune():
            trainer.should_stop = True

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Warn of a metric that no epoch has logged: its name may be misspelled."""
        if self.trial is not None and not self.reported:
            there = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
            rank_zero_warn(
                f"{self.metric} is not reported to the study: no epoch has logged it; logged: "
                f"{there}"
            )

    def _report(self, value: float, epoch: int) -> None:
        if self.trial is not None:
            self.trial.report(value, epoch)
            self.reported[epoch] = value
