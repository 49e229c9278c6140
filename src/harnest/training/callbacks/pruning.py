"""Reports each epoch's objective to the study, and stops pruned trials."""

from typing import Any

import pytorch_lightning as L
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities import rank_zero_warn

from harnest.study.trial import Trial


class PruningCallback(Checkpoint):
    """Reports ``metric`` at each epoch's end, and stops training when the trial is pruned.

    Of several validations in an epoch the last one counts; an epoch that does not log the metric,
    such as one without validation, has none to report. A trial that goes on from another one's
    checkpoint reports what that had. Outside a study, where ``trial`` is None, it does nothing.

    It keeps no files: to Lightning it is one of the checkpoints, since of all callbacks those hear
    of an epoch's end last, when the training metrics are known. It comes before those that write
    files, so that these know of the epoch.
    """

    def __init__(self, trial: Trial | None, metric: str) -> None:
        self.trial = trial
        self.metric = metric
        self.seen: Any = None
        self.reported: dict[int, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """What was reported, by epoch."""
        return {"reported": self.reported}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Report what was reported before: a pruner judges a trial by its best epoch."""
        for epoch, value in state_dict["reported"].items():
            self._report(value, epoch)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report, then ask whether to go on; after the last epoch there is nothing to save."""
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
