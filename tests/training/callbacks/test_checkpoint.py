"""Checkpoints that are taken along from one directory to another."""

import errno
import os
import resource
import shutil
from pathlib import Path

import pytest
from pytorch_lightning import Trainer
from pytorch_lightning.demos.boring_classes import BoringModel

from harnest.training.callbacks.checkpoint import BestAndLast


def test_a_copy_that_is_broken_off_is_no_checkpoint(tmp_path):
    """Here by a limit to the size of files, as by a full disk, or by the end of its process."""
    before, after = tmp_path / "before" / "best.ckpt", tmp_path / "after"
    before.parent.mkdir()
    before.write_bytes(bytes(100_000))
    callback = BestAndLast(dirpath=after, filename="best", monitor="val/loss")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OSError, match="large"):
            callback.load_state_dict({"best_model_path": str(before), "best_model_score": 0.5})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (after / "best.ckpt").exists()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_process_killed_while_it_writes_a_checkpoint_leaves_the_one_before(tmp_path, monkeypatch):
    """Where the folder for temporary files is on another disk, to move a file is to copy it."""

    class KilledError(BaseException):
        """What no handler of an error takes."""

    def across(one, other):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    def half(one, other, **options):
        Path(other).write_bytes(Path(one).read_bytes()[:100])
        raise KilledError

    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        limit_train_batches=1,
        limit_val_batches=0,
        callbacks=[BestAndLast(dirpath=tmp_path, filename="best")],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(BoringModel())
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert set(before) == {"best.ckpt", "last.ckpt"}
    monkeypatch.setattr(os, "rename", across)
    monkeypatch.setattr(shutil, "copyfile", half)
    with pytest.raises(KilledError):
        trainer.save_checkpoint(tmp_path / "last.ckpt")
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*.ckpt")} == before
