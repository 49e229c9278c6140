"""Checkpoints of the best and the last epoch, correct across a resume."""

import shutil
from pathlib import Path
from typing import Any

from lightning_fabric.plugins import TorchCheckpointIO
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from harnest.core.errors import ConfigError


class _AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's way to write checkpoints, each of which has its name once it is whole.

    Lightning writes in the system's folder for temporary files and moves from there, which is to
    copy where that is another disk: a process that is killed then would leave half a checkpoint.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write beside its place, and rename; an address of a store of objects is Lightning's."""
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        new = Path(path).with_suffix(".new")
        super().save_checkpoint(checkpoint, new, storage_options)
        new.replace(path)


class BestAndLast(ModelCheckpoint):
    """A ModelCheckpoint with a last.ckpt of every epoch, and a best one that survives a resume.

    Since version 2.6 Lightning writes last.ckpt only with an epoch among the best, or from a
    validation within an epoch, so a run would not resume from its end. It also forgets the best
    epoch if a run resumes in another directory.

    Raises:
        ConfigError: ``save_top_k`` asks for several best epochs in one file.
    """

    def __init__(self, *, save_last: bool = True, **options: Any) -> None:
        super().__init__(save_last=False, **options)
        if self.save_top_k not in (0, 1) and "{" not in (self.filename or "{"):
            raise ConfigError(
                f"callbacks.checkpoint.save_top_k={self.save_top_k} cannot be used: all of them "
                f"would be {self.filename}.ckpt; keep 1, or give each its own name with "
                "callbacks.checkpoint.filename='\"{epoch}\"'"
            )
        self.writes_last = save_last
        self._resumed: Path | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See to it that no half of a checkpoint is ever there."""
        super().setup(trainer, pl_module, stage)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = _AtomicCheckpointIO()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write last.ckpt after the best checkpoint, whose path it contains."""
        super().on_train_epoch_end(trainer, pl_module)
        if self.writes_last and self.dirpath is not None and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            file = Path(self.dirpath) / f"last{self.FILE_EXTENSION}"
            trainer.save_checkpoint(file, self.save_weights_only)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Remember the folder of the checkpoint that the run resumes from."""
        self._resumed = None if trainer.ckpt_path is None else Path(trainer.ckpt_path)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Copy the best checkpoint into this run's directory, if it still exists."""
        best = Path(state_dict["best_model_path"])
        if not best.is_file() and self._resumed is not None:
            best = self._resumed.with_name(best.name)  # the run's directory was moved
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
