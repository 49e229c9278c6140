"""Checkpoints that are taken along from one directory to another."""

import resource

import pytest

from harnest.checkpoint import BestAndLast


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
