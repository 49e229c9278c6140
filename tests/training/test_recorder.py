"""A run of its own, from its start to whatever end."""

import json
from pathlib import Path

import pytest
import pytorch_lightning as L
import torch
from omegaconf import OmegaConf
from pytorch_lightning.loggers import CSVLogger

from foreign_bench import files_of
from harnest.core.errors import DivergedError, TrackingError
from harnest.tracking.outbox.operations import DatasetInfo
from harnest.tracking.outbox.runlog import run_logs_below
from harnest.training.logger import MLflowLogger
from harnest.training.recorder import record_run
from limits import HANG_TIMEOUT

WATCH = DatasetInfo("watch", "abc", (200, 6), {"rate_hz": 50.0})

CFG = OmegaConf.create(
    {
        "seed": 3,
        "data": {"name": "watch", "train": [1, 2], "nothing": None, "empty": {}},
        "where": "postgresql://me:s3cr3t@host/db",
        "twice": "${data.name}",
        "long": "x" * 400,
    }
)


@pytest.fixture
def directory(tmp_path):
    """What a run has written by its end."""
    folder = tmp_path / "outputs"
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("- seed=3\n")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "best.ckpt").write_bytes(b"weights")
    (folder / "train.log").write_text("all went well\n")
    return folder


@pytest.fixture
def logger(store):
    return MLflowLogger(store, "tests")


def record(logger, directory, error=None, cfg=CFG):
    facts = {"seed": "3", "data.digest": "abc"}
    with record_run(
        [logger], cfg, directory, name="watch-lstm", facts=facts, data_set=WATCH
    ) as score:
        logger.log_metrics({"train/loss": 0.5, "epoch": 0}, 100)
        logger.log_metrics({"train/loss": 0.25, "epoch": 1}, 200)
        if error is not None:
            raise error
        score(0.75, 3)


def read(client, logger):
    return client.get_run(logger.version)


def artifacts(client, logger, folder=None):
    return {one.path for one in client.list_artifacts(logger.version, folder)}


def test_a_finished_run_holds_what_made_it(logger, directory, client):
    record(logger, directory)
    run = read(client, logger)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "watch-lstm")
    assert run.data.metrics == {"train/loss": 0.25, "objective": 0.75, "steps": 3}
    assert [m.step for m in client.get_metric_history(logger.version, "train/loss")] == [0, 1]
    assert run.data.params["data.name"] == run.data.params["twice"] == "watch"
    assert run.data.params["data.train"] == "[1, 2]"
    assert run.data.params["data.nothing"] == "None"
    assert run.data.params["long"] == "x" * 400
    tags = run.data.tags
    assert (tags["data.digest"], tags["directory"]) == ("abc", str(directory))
    assert "version.torch" in tags
    assert artifacts(client, logger) == {
        "config.yaml",
        "overrides.yaml",
        "checkpoints",
        "train.log",
    }
    assert artifacts(client, logger, "checkpoints") == {"checkpoints/best.ckpt"}
    kept = OmegaConf.load(client.download_artifacts(logger.version, "config.yaml"))
    assert (kept.seed, kept.twice) == (3, "watch")


def test_a_run_shows_the_metrics_of_the_epoch_that_is_kept(logger, directory, client):
    with record_run([logger], CFG, directory, name="x", facts={}, data_set=None) as score:
        for epoch, value in enumerate([0.4, 0.8, 0.6]):
            logger.log_metrics({"val/macro_f1": value, "epoch": epoch}, epoch)
        score(0.8, 3, (1, {"val/macro_f1": 0.8}))
    run = read(client, logger)
    assert run.data.metrics["best/val/macro_f1"] == 0.8
    assert run.data.metrics["best/epoch"] == 1
    curve = client.get_metric_history(logger.version, "val/macro_f1")
    assert [(one.step, one.value) for one in curve] == [(0, 0.4), (1, 0.8), (2, 0.6)]
    assert "epoch 1, val/macro_f1 = 0.8000" in run.data.tags["mlflow.note.content"]


def test_places_in_the_runs_own_directory_are_no_parameters(logger, directory, client):
    own = {"dirpath": f"{directory}/checkpoints", "save_dir": str(directory), "also": "/elsewhere"}
    record(logger, directory, cfg=OmegaConf.merge(CFG, {"callbacks": {"checkpoint": own}}))
    params = read(client, logger).data.params
    assert {key for key in params if key.startswith("callbacks")} == {"callbacks.checkpoint.also"}
    kept = OmegaConf.load(client.download_artifacts(logger.version, "config.yaml"))
    assert kept.callbacks.checkpoint.dirpath == f"{directory}/checkpoints"


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (ValueError("no luck"), "FAILED", "error"),
        (DivergedError("not a number"), "FAILED", "nan"),
        (MemoryError(), "FAILED", "oom"),
        (KeyboardInterrupt(), "KILLED", "interrupted"),
    ],
)
def test_another_end_has_its_state_reason_and_traceback(
    logger, directory, client, error, state, reason
):
    with pytest.raises(type(error)):
        record(logger, directory, error)
    run = read(client, logger)
    assert (run.info.status, run.data.tags["reason"]) == (state, reason)
    assert "objective" not in run.data.metrics
    assert run.data.metrics["train/loss"] == 0.25  # what was known by then
    assert {"traceback.txt", "checkpoints", "train.log"} <= artifacts(client, logger)
    traceback = Path(client.download_artifacts(logger.version, "traceback.txt")).read_text()
    assert type(error).__name__ in traceback


def test_a_run_that_breaks_while_it_is_set_up_does_not_stay_running(
    logger, directory, client, monkeypatch
):
    def broken(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(MLflowLogger, "log_hyperparams", broken)
    with pytest.raises(KeyboardInterrupt):
        record(logger, directory)
    assert read(client, logger).info.status == "KILLED"


def test_a_second_interrupt_right_after_the_first_makes_no_good_end(
    logger, directory, client, monkeypatch
):
    def interrupted(error):
        raise KeyboardInterrupt

    monkeypatch.setattr("harnest.training.recorder.failure_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record(logger, directory, KeyboardInterrupt())
    run = read(client, logger)
    assert (run.info.status, run.data.tags["reason"]) == ("KILLED", "interrupted")


def test_files_that_cannot_be_copied_are_told_and_kept(
    logger, directory, client, monkeypatch, caplog
):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    logger.flush_timeout = 0.2
    monkeypatch.setattr("mlflow.MlflowClient.log_artifact", full)
    record(logger, directory)
    assert "No space left on device" in caplog.text
    assert f"harnest-sync {directory}" in caplog.text
    monkeypatch.undo()
    (run_log,) = run_logs_below(directory)
    run_log.send(client)
    assert read(client, logger).info.status == "FINISHED"
    assert "checkpoints" in artifacts(client, logger)


@pytest.mark.parametrize("said", ["success", "failed", "finished"])
def test_lightnings_last_word_does_not_change_the_state(logger, directory, client, said):
    with record_run([logger], CFG, directory, name="x", facts={}, data_set=WATCH):
        logger.finalize(said)
        logger.run.queue.uploader.wait(HANG_TIMEOUT)
        assert read(client, logger).info.status == "RUNNING"
    logger.finalize(said)
    assert read(client, logger).info.status == "FINISHED"


def test_a_trials_run_is_left_to_its_study(store, directory, client, monkeypatch):
    logger = MLflowLogger(store, "tests")
    study = client.create_run("0", run_name="trial-7")
    monkeypatch.setenv("MLFLOW_RUN_ID", study.info.run_id)
    with pytest.raises(ValueError, match="no luck"):
        record(logger, directory, ValueError("no luck"))
    run = client.get_run(study.info.run_id)
    assert (run.info.status, run.info.run_name) == ("RUNNING", "trial-7")
    assert run.data.params["seed"] == "3"
    assert "reason" not in run.data.tags
    assert "traceback.txt" not in {one.path for one in client.list_artifacts(run.info.run_id)}


def test_a_password_is_nowhere(logger, directory, client, tmp_path):
    error = OSError("cannot reach postgresql://me:s3cr3t@host/db")
    with pytest.raises(OSError, match="cannot reach"):
        record(logger, directory, error)
    run = read(client, logger)
    assert run.data.params["where"] == "postgresql://me:***@host/db"
    assert "s3cr3t" not in json.dumps(run.to_dictionary())
    for name, (_, content) in files_of(tmp_path).items():
        assert b"s3cr3t" not in content, name


def test_other_loggers_are_let_be(directory, tmp_path):
    with record_run(
        [CSVLogger(tmp_path)], CFG, directory, name="x", facts={}, data_set=WATCH
    ) as score:
        score(0.5, 3)


def test_a_run_may_have_a_name_of_its_own(store, directory, client):
    logger = MLflowLogger(store, "tests", run_name="mine")
    record(logger, directory)
    assert read(client, logger).info.run_name == "mine"


def test_a_store_that_cannot_be_used_is_told_at_once(tmp_path):
    with pytest.raises(TrackingError, match="databases only"):
        MLflowLogger(str(tmp_path / "mlruns"), "tests")
    assert list(tmp_path.iterdir()) == []


class Line(L.LightningModule):
    """Logs by step and by epoch, and may raise ``error``."""

    def __init__(self, error=None):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.error = error

    def training_step(self, batch, batch_idx):
        if self.error is not None:
            raise self.error
        loss = self.layer(batch).mean()
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.layer(batch).mean())

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


def plain_trainer(logger, tmp_path):
    return L.Trainer(
        logger=logger,
        max_epochs=2,
        log_every_n_steps=1,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )


DATA = torch.utils.data.DataLoader(torch.ones(6, 1), batch_size=2)


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
def test_a_plain_trainers_run_is_the_loggers_own(store, client, tmp_path):
    logger = MLflowLogger(store, "tests", directory=tmp_path / "mine")
    assert logger.version is None  # nothing is recorded before training begins
    trainer = plain_trainer(logger, tmp_path)
    module = Line()
    trainer.fit(module, DATA, DATA)
    run = read(client, logger)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "mine")

    def steps(name):
        return sorted(one.step for one in client.get_metric_history(run.info.run_id, name))

    assert steps("train/loss_step") == [0, 1, 2, 3, 4, 5]
    assert steps("train/loss_epoch") == steps("val/loss") == [0, 1]
    assert set(logger.history) == {"train/loss_epoch", "val/loss"}  # which curves are drawn from
    trainer.test(module, DATA)
    assert steps("val/loss") == [0, 1, 2]
    assert read(client, logger).info.status == "FINISHED"
    assert len(client.search_runs([run.info.experiment_id])) == 1


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
def test_a_plain_trainers_failure_is_its_runs(store, client, tmp_path):
    logger = MLflowLogger(store, "tests", directory=tmp_path / "mine")
    with pytest.raises(ValueError, match="no luck"):
        plain_trainer(logger, tmp_path).fit(Line(ValueError("no luck")), DATA)
    run = read(client, logger)
    assert run.info.status == "FAILED"
    assert run.data.tags["message"] == "ValueError: no luck"
