"""One run, as a user gives it: its score, its record, its ends, and going on from where it was."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import optuna
import pytest
import torch
import yaml
from omegaconf import OmegaConf

from commands import command, epochs_of, score_in, warm
from harnest.study.storage.optuna_storage import journal_address, open_storage
from harnest.tracking.provenance import provenance
from limits import HANG_TIMEOUT

SMALL = ("trainer=cpu", "model.hidden_size=8", "data.batch_size=128", "optimizer.lr=1e-2")
SHORT = (*SMALL, "trainer.max_epochs=3")

pytestmark = pytest.mark.filterwarnings("ignore:.*noload.*")


def directory_of(folder):
    """The one run's directory in ``folder``."""
    (directory,) = folder.glob("outputs/*/*")
    return directory


def client_of(folder):
    return mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")


def runs_in(folder):
    client = client_of(folder)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(experiments, order_by=["start_time ASC"])


def artifacts_of(folder, run, path=None):
    found = client_of(folder).list_artifacts(run.info.run_id, path)
    return {entry.path for entry in found}


@pytest.fixture(scope="module")
def lone(tmp_path_factory):
    """A run as a user gives it, and the folder in which it was given."""
    folder = tmp_path_factory.mktemp("lone")
    # How many threads there are is for the config to say, not for the tests' environment.
    return folder, command("train", *SHORT, folder=folder, OMP_NUM_THREADS="2")


@pytest.mark.xdist_group("train")
class TestLoneRun:
    def test_it_ends_well_and_says_where_it_is(self, lone):
        folder, answer = lone
        assert answer.code == 0, answer
        (line,) = answer.err.splitlines()
        assert line.endswith(f", in {directory_of(folder)}")
        assert "Warning" not in answer.out + answer.err

    def test_its_directory_holds_config_log_and_checkpoints(self, lone):
        directory = directory_of(lone[0])
        files = {
            str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()
        }
        record = {file for file in files if file.startswith("record/")}
        assert {"record/journal.jsonl", "record/sent.json", "record/model/MLmodel"} <= record
        assert files - record == {
            *(".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml"),
            *("checkpoints/best.ckpt", "checkpoints/last.ckpt", "train.log"),
        }

    def test_the_checkpoint_carries_weights_and_statistics(self, lone):
        state = torch.load(directory_of(lone[0]) / "checkpoints/best.ckpt", weights_only=True)
        assert {"mean", "std", "network.head.weight"} <= set(state["state_dict"])
        assert state["state_dict"]["mean"].shape == (6,)

    def test_its_score_is_the_best_epochs(self, lone):
        folder, answer = lone
        (run,) = runs_in(folder)
        history = client_of(folder).get_metric_history(run.info.run_id, "val/macro_f1")
        assert [metric.step for metric in history] == [0, 1, 2]
        best = max(metric.value for metric in history)
        assert run.data.metrics["objective"] == best
        assert score_in(answer) == pytest.approx(best, abs=1e-4)

    def test_its_record_is_finished_and_has_every_metric_of_every_epoch(self, lone):
        folder, _ = lone
        (run,) = runs_in(folder)
        assert run.info.status == "FINISHED"
        assert run.info.end_time > run.info.start_time
        assert re.fullmatch(r"watch-lstm-\d\d-\d\d-\d\d-\d\d-\d\d", run.info.run_name)
        for part in ("train", "val"):
            for name in ("loss", "accuracy", "macro_f1"):
                history = client_of(folder).get_metric_history(run.info.run_id, f"{part}/{name}")
                assert [metric.step for metric in history] == [0, 1, 2]
        assert not [name for name in run.data.metrics if name.startswith("test/")]

    def test_its_parameters_are_there_in_full(self, lone):
        folder, _ = lone
        (run,) = runs_in(folder)
        params = run.data.params
        assert params["model.hidden_size"] == "8"
        assert params["optimizer.lr"] == "0.01"
        assert params["data.source._target_"] == "harnest.har.data.sources.watch.Watch"
        assert params["trainer.max_epochs"] == "3"
        assert params["seed"] == "0"

    def test_no_parameter_names_a_place_in_its_directory(self, lone):
        """It would be the first axis of MLflow's comparison, and say nothing of the training."""
        folder, _ = lone
        (run,) = runs_in(folder)
        own = str(directory_of(folder))
        assert [key for key, value in run.data.params.items() if value.startswith(own)] == []
        assert "callbacks.checkpoint.monitor" in run.data.params

    def test_its_artifacts_make_it_again(self, lone):
        folder, _ = lone
        (run,) = runs_in(folder)
        assert {"config.yaml", "overrides.yaml", "checkpoints"} <= artifacts_of(folder, run)
        assert artifacts_of(folder, run, "checkpoints") == {
            "checkpoints/best.ckpt",
            "checkpoints/last.ckpt",
        }
        client = client_of(folder)
        overrides = client.download_artifacts(run.info.run_id, "overrides.yaml")
        assert yaml.safe_load(Path(overrides).read_text()) == list(SHORT)
        cfg = yaml.safe_load(
            Path(client.download_artifacts(run.info.run_id, "config.yaml")).read_text()
        )
        assert cfg["model"]["hidden_size"] == 8
        assert cfg["objective"]["metric"] == cfg["callbacks"]["checkpoint"]["monitor"]

    def test_its_tags_say_where_it_comes_from(self, lone):
        folder, _ = lone
        (run,) = runs_in(folder)
        tags = run.data.tags
        assert tags["directory"] == str(directory_of(folder))
        assert tags["seed"] == "0"
        assert re.fullmatch(r"[0-9a-f]{64}", tags["data.digest"])
        subjects = [
            tags[f"subjects.{part}"].split(", ") for part in ("train", "validation", "test")
        ]
        assert sorted(int(one) for part in subjects for one in part) == list(range(1, 11))
        assert tags["device"] == "cpu"
        assert tags["threads"] == "1"
        assert tags["version.torch"] == torch.__version__
        assert {"version.python", "version.harnest", "version.mlflow", "system"} <= set(tags)
        assert "mlflow.source.git.commit" not in tags  # the folder is no repository

    def test_the_same_command_gives_the_same_score(self, lone, tmp_path):
        again = warm("train", *SHORT, "logger=csv", folder=tmp_path)
        (run,) = runs_in(lone[0])
        values = [epoch["val/macro_f1"] for epoch in epochs_of(directory_of(tmp_path))]
        assert max(values) == run.data.metrics["objective"]
        assert score_in(again) == score_in(lone[1])

    def test_another_seed_gives_another_score(self, lone, tmp_path):
        other = warm("train", *SHORT, "seed=1", "logger=none", folder=tmp_path)
        assert score_in(other) != score_in(lone[1])

    @pytest.mark.slow
    def test_a_sweep_gives_the_same_score(self, lone, tmp_path):
        """To the last digit, in a process and a slot of its own, beside another trial."""
        answer = command("train", "-m", "seed=0,1", *SHORT, folder=tmp_path)
        assert answer.code == 0, answer
        (alone,) = runs_in(lone[0])
        trials = {run.info.run_name: run for run in runs_in(tmp_path)}
        objectives = [trials[f"trial-{n}"].data.metrics["objective"] for n in (0, 1)]
        assert objectives[0] == alone.data.metrics["objective"]
        assert objectives[1] != objectives[0]
        for metric in ("val/loss", "train/loss"):
            assert trials["trial-0"].data.metrics[metric] == alone.data.metrics[metric]
        for tag in set(provenance()) - {"mlflow.source.name"}:  # started in another way
            assert trials["trial-0"].data.tags.get(tag) == alone.data.tags.get(tag)

    def test_a_second_run_beside_it_overwrites_nothing(self, lone, tmp_path):
        for _ in range(2):
            assert warm("train", "debug=fast", *SMALL, folder=tmp_path).code == 0
        assert len(list(tmp_path.glob("outputs/*/*"))) == 2

    def test_a_checkpoint_is_too_long_for_another_network(self, lone, tmp_path):
        last = directory_of(lone[0]) / "checkpoints/last.ckpt"
        arguments = ("model.hidden_size=9", f"resume={last}", "logger=none")
        line = warm("train", *SMALL, *arguments, folder=tmp_path).line
        assert "another architecture" in line
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", ["callbacks=default", "callbacks=none", "scheduler=plateau"])
def test_a_run_that_ends_before_it_validates_says_so(tmp_path, options):
    early = ("+trainer.max_steps=3", options, "logger=none")
    answer = warm("train", *SMALL, *early, folder=tmp_path)
    assert answer.code == 2, answer
    (line,) = answer.err.splitlines()
    assert line.startswith("val/macro_f1 was not measured: ")
    assert "trainer.max_steps" in line


def test_a_clock_may_say_when_to_validate(tmp_path):
    clock = ("+trainer.val_check_interval=00:00:00:00", "trainer.limit_train_batches=3")
    answer = warm("train", *SHORT, *clock, "logger=csv", folder=tmp_path)
    assert score_in(answer) > 0
    with (directory_of(tmp_path) / "csv" / "metrics.csv").open() as file:
        assert len([row for row in csv.DictReader(file) if row["val/loss"]]) == 9


@pytest.mark.parametrize(
    ("logger", "files"),
    [
        ("csv", {"csv/metrics.csv"}),
        ("[csv,tensorboard]", {"csv/metrics.csv", "tensorboard/events"}),
        ("none", set()),
    ],
)
def test_metrics_go_where_the_loggers_put_them(tmp_path, logger, files):
    answer = warm("train", *SMALL, "trainer.max_epochs=2", f"logger={logger}", folder=tmp_path)
    assert answer.code == 0, answer
    assert {path.name for path in tmp_path.iterdir()} == {"outputs"}
    directory = directory_of(tmp_path)
    written = {
        str(path.relative_to(directory)).partition(".out.tfevents")[0]
        for path in directory.rglob("*")
        if path.is_file() and path.relative_to(directory).parts[0] not in (".hydra", "checkpoints")
    }
    assert written - {"train.log", "tensorboard/hparams.yaml"} == files
    if "csv" in logger:
        epochs = epochs_of(directory)
        assert len(epochs) == 2
        names = {
            f"{part}/{name}"
            for part in ("train", "val")
            for name in ("loss", "accuracy", "macro_f1")
        }
        assert all(set(epoch) == {"lr", *names} for epoch in epochs)
        assert score_in(answer) == pytest.approx(max(e["val/macro_f1"] for e in epochs), abs=1e-4)


def test_debug_fast_tries_one_batch_and_keeps_no_record(tmp_path):
    answer = warm("train", "debug=fast", "trainer=cpu", folder=tmp_path)
    assert answer.code == 0, answer
    assert {path.name for path in tmp_path.iterdir()} == {"outputs"}


def test_an_empty_list_of_choices_is_none_of_them(tmp_path):
    nothing = ("logger=[]", "augmentation=[]", "callbacks=[]")
    answer = warm("train", "debug=fast", "trainer=cpu", *nothing, folder=tmp_path)
    assert answer.code == 0, answer
    composed = OmegaConf.load(directory_of(tmp_path) / ".hydra" / "config.yaml")
    assert [composed[group] for group in ("logger", "augmentation", "callbacks")] == [{}, {}, {}]


def test_debug_limit_takes_a_tenth_for_three_epochs(tmp_path):
    answer = warm("train", "debug=limit", "trainer=cpu", "logger=csv", folder=tmp_path)
    assert answer.code == 0, answer
    assert len(epochs_of(directory_of(tmp_path))) == 3


def test_debug_overfit_learns_a_few_batches_by_heart(tmp_path):
    arguments = ("trainer.max_epochs=25", "optimizer.lr=1e-2", "data.batch_size=32")
    answer = warm(
        "train", "debug=overfit", "trainer=cpu", *arguments, "logger=csv", folder=tmp_path
    )
    assert answer.code == 0, answer
    epochs = epochs_of(directory_of(tmp_path))
    assert len(epochs) == 25
    assert epochs[-1]["train/loss"] < 0.5 * epochs[0]["train/loss"]


def test_training_stops_when_the_objective_does_not_improve(tmp_path):
    stopping = ("callbacks.early_stopping.patience=2", "callbacks.early_stopping.min_delta=2")
    answer = warm("train", *SMALL, *stopping, "logger=csv", folder=tmp_path)
    assert answer.code == 0, answer
    assert len(epochs_of(directory_of(tmp_path))) == 3


def test_without_checkpoints_the_score_is_the_last_epochs(tmp_path):
    answer = warm("train", *SHORT, "callbacks=none", "logger=csv", folder=tmp_path)
    last = epochs_of(directory_of(tmp_path))[-1]
    assert score_in(answer) == pytest.approx(last["val/macro_f1"], abs=1e-4)
    assert not (directory_of(tmp_path) / "checkpoints").exists()


def test_the_score_is_the_kept_epochs_where_that_is_chosen_by_another_metric(tmp_path):
    first = ("callbacks.checkpoint.monitor=val/loss", "callbacks.checkpoint.mode=max")
    answer = warm("train", *SHORT, *first, "logger=csv", folder=tmp_path)
    kept = max(epochs_of(directory_of(tmp_path)), key=lambda epoch: epoch["val/loss"])
    assert score_in(answer) == pytest.approx(kept["val/macro_f1"], abs=1e-4)


def test_an_objective_to_be_minimised(tmp_path):
    arguments = ("objective.metric=val/loss", "logger=csv")
    answer = warm("train", *SHORT, *arguments, folder=tmp_path)
    losses = [epoch["val/loss"] for epoch in epochs_of(directory_of(tmp_path))]
    assert score_in(answer) == pytest.approx(min(losses), abs=1e-4)


@pytest.mark.xdist_group("diverged")
@pytest.mark.parametrize("callbacks", ["default", "none"])
def test_a_run_that_diverges_says_so_and_is_failed(tmp_path_factory, callbacks):
    folder = tmp_path_factory.mktemp("diverged")
    arguments = ("optimizer=sgd", "optimizer.lr=1e30", "trainer.gradient_clip_val=null")
    answer = warm("train", *SHORT, *arguments, f"callbacks={callbacks}", folder=folder)
    assert answer.code == 2, answer
    (line,) = answer.err.splitlines()
    assert "diverged" in line
    assert "optimizer.lr" in line
    (run,) = runs_in(folder)
    assert run.info.status == "FAILED"
    assert run.data.tags["reason"] == "nan"
    assert "traceback.txt" in artifacts_of(folder, run)
    assert "objective" not in run.data.metrics


ENDLESS = (*SMALL, "trainer.max_epochs=100000", "callbacks.early_stopping=null")


def has_trained(folder):
    return lambda: any(folder.glob("outputs/*/*/checkpoints/last.ckpt"))


def check_killed(folder, answer):
    assert answer.code == 130, answer
    assert answer.err.strip().splitlines()[-1] == "interrupted"
    assert "Traceback" not in answer.err
    (run,) = runs_in(folder)
    assert run.info.status == "KILLED"
    assert run.data.tags["reason"] == "interrupted"
    assert "val/loss" in run.data.metrics
    assert "checkpoints" in artifacts_of(folder, run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_an_interrupted_run_is_killed_and_keeps_what_it_had(tmp_path, number):
    answer = warm("train", *ENDLESS, folder=tmp_path, interrupt=(number, has_trained(tmp_path)))
    check_killed(tmp_path, answer)


@pytest.mark.slow
def test_an_interrupt_before_training_leaves_no_traceback(tmp_path):
    """Ctrl-C while torch is still being imported."""
    program = Path(sys.executable).with_name("harnest-train")
    process = subprocess.Popen(
        [program, *ENDLESS, "logger=none"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + HANG_TIMEOUT
    while not any(tmp_path.glob("outputs/*/*/.hydra/config.yaml")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=HANG_TIMEOUT)
    assert process.returncode == 130
    assert err.strip().splitlines()[-1] == "interrupted"
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two processes want two cores")
def test_two_processes_share_one_run(tmp_path):
    """DDP on the processor: the same windows, half each, one record."""
    answer = command(
        "train",
        *SHORT,
        *("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "logger=[mlflow,csv]"),
        folder=tmp_path,
    )
    assert answer.code == 0, answer
    (run,) = runs_in(tmp_path)
    assert run.info.status == "FINISHED"
    epochs = epochs_of(directory_of(tmp_path))
    assert len(epochs) == 3
    assert epochs[-1]["train/loss"] < epochs[0]["train/loss"]
    assert run.data.metrics["objective"] == max(epoch["val/macro_f1"] for epoch in epochs)
    assert len(re.findall(r"val/macro_f1 = ", answer.err)) == 1
    assert "sync_dist" not in answer.err


@pytest.mark.slow
def test_objectives_and_limits_beside_the_score(tmp_path):
    answer = command(
        "train",
        "-m",
        "hydra.sweeper.study=f",
        "trainer=cpu",
        "data.batch_size=256",
        "trainer.max_epochs=1",
        "model.hidden_size=2,4,8",
        "objective.extra={parameters: min}",
        "hydra.sweeper.constraints={parameters: '<= 200'}",
        folder=tmp_path,
    )
    assert answer.code == 0, answer
    study = optuna.load_study(
        study_name="f", storage=open_storage(journal_address(tmp_path / "multirun/f"))
    )
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    weights = [4 * h * (6 + h + 2) + 7 * (h + 1) for h in (2, 4, 8)]
    assert [trial.values[1] for trial in study.trials] == weights
    assert [trial.constraints["parameters"] <= 0 for trial in study.trials] == [True, False, False]
    assert [trial.number for trial in study.best_trials] == [0]
