"""Checkpoints of the best and the latest epoch, also across a resume."""

import shutil
from pathlib import Path
from typing import Any

from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.callbacks import ModelCheckpoint


class BestAndLast(ModelCheckpoint):
    """Lightning's callback, which takes the best epoch along when a run goes on elsewhere.

    Lightning forgets it where the directory is another: the best would be the best since then.
    """

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
    shutil.copyfile(file, to)
