"""The one link between Lightning and the study: each epoch's objective goes to the trial."""

import pytorch_lightning as L

from harnest.study.trial import Trial


class ReportToTrial(L.Callback):
    """Reports ``metric`` after each validation, and stops training when the trial is pruned."""

    def __init__(self, trial: Trial, metric: str) -> None:
        self.trial = trial
        self.metric = metric

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report, then ask whether to go on; after the last epoch there is nothing to save."""
        self.trial.report(float(trainer.callback_metrics[self.metric]), trainer.current_epoch)
        is_last = trainer.current_epoch + 1 == trainer.max_epochs
        if not is_last and self.trial.should_prune():
            trainer.should_stop = True
