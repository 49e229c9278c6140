"""Checkpoints of the best and the latest epoch, also across a resume."""

import shutil
from pathlib import Path
from typing import Any

from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint


class BestAndLast(ModelCheckpoint):
    """Lightning's callback, with a last.ckpt of every epoch, and a best one that is not forgotten.

    Since version 2.6, Lightning writes last.ckpt only after an epoch that was among the best, so a
    run would go on from there. And it forgets the best epoch where a run goes on in another
    directory: the best would be the best since then.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write last.ckpt also where the epoch was not among the best."""
        super().on_train_epoch_end(trainer, pl_module)
        if self.save_last and not self._should_skip_saving_checkpoint(trainer):
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Copy the best checkpoint so far into this run's directory, where it is still there."""
        best = Path(state_dict["best_model_path"])
        if self.dirpath is None or not best.is_file():
            return
        kept = Path(self.dirpath) / best.name
        if kept != best:
            _copy(best, kept)
        moved = {
            "dirpath": self.dirpath,
            "best_model_path": str(kept),
            "kth_best_model_path": str(kept),
            "best_k_models": {str(kept): state_dict["best_model_score"]},
            "last_model_path": "",
        }
        super().load_state_dict(state_dict | moved)


@rank_zero_only
def _copy(file: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    new = to.with_suffix(".new")
    shutil.copyfile(file, new)
    new.replace(to)  # at once: a run that is killed here leaves no half of a checkpoint
