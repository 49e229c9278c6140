import pytest
from omegaconf import OmegaConf

from harnest.core.errors import CheckpointError, TrackingError
from harnest.tracking.find_runs import find_run
from harnest.tracking.load_run import load_run

CONFIG = {"seed": 3, "logger": {"mlflow": {"experiment": "tests"}}}


@pytest.fixture
def directory(tmp_path):
    """A finished run's directory."""
    folder = tmp_path / "outputs" / "one"
    (folder / ".hydra").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    OmegaConf.save(OmegaConf.create(CONFIG), folder / ".hydra" / "config.yaml")
    (folder / "checkpoints" / "best.ckpt").write_bytes(b"weights")
    return folder


@pytest.fixture
def run_id(client, directory):
    """The record of that run."""
    run = client.create_run("0", run_name="one", tags={"directory": str(directory)})
    client.log_artifact(run.info.run_id, str(directory / ".hydra" / "config.yaml"))
    client.log_artifact(run.info.run_id, str(directory / "checkpoints/best.ckpt"), "checkpoints")
    client.log_metric(run.info.run_id, "val/loss", 0.5)
    return run.info.run_id


def test_a_run_is_found_by_its_directory(store, directory, run_id):
    found = load_run(str(directory), store)
    assert found.cfg == CONFIG
    assert found.checkpoint.read_bytes() == b"weights"
    assert found.run.run_id == run_id


def test_a_relative_directory_is_the_same(store, directory, run_id, monkeypatch):
    monkeypatch.chdir(directory.parent)
    assert load_run("one", store).run.run_id == run_id


def test_another_way_to_the_directory_leads_to_the_same_run(store, client, directory, run_id):
    link = directory.parent / "link"
    link.symlink_to(directory)
    for way in (link, directory / ".." / "one"):
        assert load_run(str(way), store).run.run_id == run_id
        assert find_run(client, "0", str(way)).info.run_id == run_id


def test_a_directory_with_an_apostrophe_is_found(store, client, directory):
    moved = directory.rename(directory.with_name("tom's run"))
    run = client.create_run("0", tags={"directory": str(moved)})
    assert load_run(str(moved), store).run.run_id == run.info.run_id


def test_a_run_is_found_by_its_identity(store, run_id):
    found = load_run(run_id, store)
    assert found.cfg == CONFIG
    assert found.checkpoint.read_bytes() == b"weights"


def test_metrics_are_written_back_and_read(store, run_id, client):
    found = load_run(run_id, store)
    assert found.metrics("test") == {}
    found.record({"test/accuracy": 0.75, "test/loss": 1.5})
    assert load_run(run_id, store).metrics("test") == {"test/accuracy": 0.75, "test/loss": 1.5}
    assert found.metrics("val") == {"val/loss": 0.5}
    assert client.get_run(run_id).info.status == "RUNNING"  # its state is not ours to set


def test_a_run_that_was_not_recorded_in_mlflow_needs_no_store(directory, tmp_path):
    OmegaConf.save(OmegaConf.create({"logger": None}), directory / ".hydra" / "config.yaml")
    found = load_run(str(directory), f"sqlite:///{tmp_path}/none.db")
    assert found.run is None
    assert found.metrics("test") == {}
    found.record({"test/loss": 1.0})
    assert not (tmp_path / "none.db").exists()


def test_a_run_whose_record_is_gone_can_still_be_read(store, directory):
    assert load_run(str(directory), store).run is None


@pytest.mark.parametrize("name", ["nothing", "0" * 32, "missing/folder"])
def test_what_is_neither_directory_nor_identity_is_told(store, name):
    with pytest.raises(TrackingError, match=f"{name} is neither"):
        load_run(name, store)


def test_another_directory_is_told(store, tmp_path):
    with pytest.raises(TrackingError, match="is not a run directory"):
        load_run(str(tmp_path), store)


def test_a_directory_without_a_checkpoint_is_told(store, directory, run_id):
    (directory / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(CheckpointError, match="ended before its first epoch"):
        load_run(str(directory), store)


def test_a_record_without_a_checkpoint_is_told(store, client, directory):
    run = client.create_run("0")
    client.log_artifact(run.info.run_id, str(directory / ".hydra" / "config.yaml"))
    with pytest.raises(CheckpointError, match="ended before its first epoch"):
        load_run(run.info.run_id, store)
