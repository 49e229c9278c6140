"""Somebody else's data, network and configs, used from outside: see docs/plugging-in.md."""

import re
from pathlib import Path

import mlflow
import pytest
import torch

from commands import command, warm

HERE = Path(__file__).parent
CONFIGS = ("--config-dir", str(HERE / "conf"))
OURS = {"PYTHONPATH": str(HERE), "HARNEST_TRUST": "mylab"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("external"),
    pytest.mark.filterwarnings("ignore:.*noload.*"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a run and a sweep were given."""
    return tmp_path_factory.mktemp("external")


@pytest.fixture(scope="module")
def run(folder):
    answer = command("train", *CONFIGS, "experiment=bench_conv", folder=folder, **OURS)
    assert answer.code == 0, answer
    return recorded(folder, "tags.trial IS NULL")[0]


@pytest.fixture(scope="module")
def trials(folder, run):
    answer = command("train", *CONFIGS, "-m", "sweep=widths", folder=folder, **OURS)
    assert answer.code == 0, answer
    return recorded(folder, "tags.trial != ''")


def recorded(folder, condition):
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(experiments, condition, order_by=["start_time ASC"])


def test_an_experiment_of_their_own_is_trained_and_recorded(run):
    assert run.info.status == "FINISHED"
    assert run.info.run_name.startswith("bench-conv-")
    assert run.data.params["data.source._target_"] == "mylab.bench.Bench"
    assert run.data.params["model._target_"] == "mylab.conv.Conv"
    assert run.data.params["data.split_seed"] == "0"  # of data/watch, which theirs is built on
    assert run.data.metrics["objective"] > 0.9


def test_the_checkpoint_holds_their_network(run):
    checkpoint = Path(run.data.tags["directory"]) / "checkpoints/best.ckpt"
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert weights["network.layers.0.weight"].shape == (8, 3, 5)
    assert weights["mean"].shape == (3,)


def test_their_activities_may_be_called_what_mlflow_calls_nothing(folder, run):
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (output,) = client.get_run(run.info.run_id).outputs.model_outputs
    assert str(client.get_logged_model(output.model_id).status) == "READY"
    scores = {name for name in run.data.metrics if name.startswith("model/f1/")}
    assert scores == {"model/f1/slow _ lento", "model/f1/fast _4 Hz_"}


def test_a_sweep_of_their_own_is_a_study(trials):
    assert [run.info.run_name for run in trials] == ["trial-0", "trial-1"]
    assert [run.info.status for run in trials] == ["FINISHED"] * 2
    assert [run.data.params["model.width"] for run in trials] == ["3", "9"]
    assert len({run.data.tags["mlflow.parentRunId"] for run in trials}) == 1


def test_their_run_can_be_tested_and_compared(folder, run, trials):
    tested = warm("evaluate", run.data.tags["directory"], folder=folder, **OURS)
    assert tested.code == 0, tested
    assert "test/macro_f1" in tested.out
    compared = warm("compare", "widths", "--format", "csv", folder=folder)
    assert compared.code == 0, compared
    assert "model.width" in compared.out.splitlines()[0]


def test_their_code_is_not_called_unless_it_is_trusted(tmp_path):
    line = warm(
        "train", *CONFIGS, "experiment=bench_conv", folder=tmp_path, PYTHONPATH=str(HERE)
    ).line
    assert "mylab.bench.Bench is not trusted" in line
    assert "HARNEST_TRUST=mylab" in line
    assert not (tmp_path / "outputs").exists()


def test_the_help_page_lists_their_choices(tmp_path):
    page = command("train", *CONFIGS, "--help", folder=tmp_path).out
    assert "data: bench, hapt, partial_bench, uci_har, watch" in page
    assert re.search(r"model: .*\bconv, ", page)
    assert re.search(r"experiment: .*\bbench_conv, ", page)


def test_a_name_that_is_nearly_theirs_is_offered(tmp_path):
    line = command("train", *CONFIGS, "model=cnov", folder=tmp_path).line
    assert "did you mean conv?" in line


def test_a_key_that_is_nearly_theirs_is_offered(tmp_path):
    line = command("train", *CONFIGS, "model=conv", "model.witdh=3", folder=tmp_path).line
    assert "did you mean model.width?" in line


PARTIAL = ("experiment=bench_conv", "data=partial_bench", "trainer.max_epochs=2", "threads=1")


def test_a_part_may_lack_an_activity(tmp_path):
    validated = ("data.validation=[2]", "data.test=[4]")
    answer = command("train", *CONFIGS, *PARTIAL, *validated, folder=tmp_path, **OURS)
    assert answer.code == 0, answer
    said = answer.out + answer.err
    assert said.count("no validation subject has a window of fast (4 Hz)") == 1
    (run,) = recorded(tmp_path, "tags.trial IS NULL")
    assert run.info.status == "FINISHED"
    assert 0 <= run.data.metrics["objective"] <= 1
    tested = warm("evaluate", run.data.tags["directory"], folder=tmp_path, **OURS)
    assert tested.code == 0, tested
    assert "test/macro_f1" in tested.out


def test_everybody_is_left_out_once_where_nobody_is_held_out(tmp_path):
    folds = ("-m", "folds=loso", "data.test=null", "hydra.sweeper.study=loso")
    answer = command("train", *CONFIGS, *PARTIAL, *folds, folder=tmp_path, **OURS)
    assert answer.code == 0, answer
    runs = recorded(tmp_path, "tags.`subjects.validation` != ''")
    assert {run.data.tags["subjects.validation"] for run in runs} == set("123456")
    assert {run.info.status for run in runs} == {"FINISHED"}
    promoted = warm("promote", "loso", folder=tmp_path, **OURS)
    assert promoted.code == 2
    assert "has no test subjects" in promoted.err
    refused = warm("evaluate", runs[0].data.tags["directory"], folder=tmp_path, **OURS)
    assert refused.code == 2
    assert "test subjects" in refused.err
