"""From a recorded run to its test scores: once, and by whatever it is named."""

import re
import shutil
import sys

import mlflow
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from sklearn.metrics import accuracy_score, f1_score

from commands import warm
from harnest.cli.evaluate import main
from harnest.har.components import make_classifier, make_data
from harnest.har.evaluation import evaluate

pytestmark = [
    pytest.mark.xdist_group("workplace"),
    pytest.mark.filterwarnings("ignore:.*noload.*"),
]


def scores_in(answer):
    assert answer.code == 0, answer
    assert answer.err == ""
    found = re.findall(r"^(test/\w+) +([\d.]+)$", answer.out, re.MULTILINE)
    return {name: float(value) for name, value in found}


def client_of(workplace):
    return mlflow.MlflowClient(f"sqlite:///{workplace.folder}/mlflow.db")


def record_of(workplace, directory):
    client = client_of(workplace)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    (run,) = client.search_runs(experiments, f"tags.directory = '{directory}'")
    return run


@pytest.fixture(scope="module")
def tested(workplace):
    """What the first test of the lone run said."""
    assert not record_of(workplace, workplace.run).data.metrics.keys() & {"test/loss"}
    directory = str(workplace.run.relative_to(workplace.folder))
    return warm("evaluate", directory, folder=workplace.folder)


def test_the_scores_are_shown_and_recorded(workplace, tested):
    scores = scores_in(tested)
    assert set(scores) == {"test/loss", "test/accuracy", "test/macro_f1"}
    assert "tested before" not in tested.out
    run = record_of(workplace, workplace.run)
    recorded = {name: value for name, value in run.data.metrics.items() if name in scores}
    assert recorded == pytest.approx(scores, abs=1e-4)
    assert run.info.status == "FINISHED"


def test_the_scores_are_those_of_the_test_subjects(workplace, tested):
    """Against a plain computation with the weights of the best epoch."""
    cfg = OmegaConf.load(workplace.run / ".hydra/config.yaml")
    data = make_data(cfg)
    classifier = make_classifier(cfg, data).eval()
    best = torch.load(workplace.run / "checkpoints/best.ckpt", weights_only=True)
    classifier.load_state_dict(best["state_dict"])
    of_test = np.isin(data.windows.subjects, data.split.test_subjects)
    labels = data.windows.labels[of_test]
    with torch.no_grad():
        guesses = classifier(torch.tensor(data.windows.signals[of_test])).argmax(dim=1)
    scores = scores_in(tested)
    assert scores["test/accuracy"] == pytest.approx(accuracy_score(labels, guesses), abs=1e-4)
    macro = f1_score(labels, guesses, average="macro")
    assert scores["test/macro_f1"] == pytest.approx(macro, abs=1e-4)


def test_a_second_test_shows_what_was_recorded_and_writes_nothing(workplace, tested):
    run = record_of(workplace, workplace.run)
    client = client_of(workplace)
    history = client.get_metric_history(run.info.run_id, "test/loss")
    for name in (str(workplace.run), run.info.run_id):
        again = warm("evaluate", name, folder=workplace.folder)
        assert "tested before" in again.out.splitlines()[0]
        assert scores_in(again) == scores_in(tested)
    assert client.get_metric_history(run.info.run_id, "test/loss") == history


def test_a_trial_is_named_by_its_mlflow_id(workplace):
    directory = workplace.study / "1"
    run = record_of(workplace, directory)
    first = warm("evaluate", run.info.run_id, folder=workplace.folder)
    assert "tested before" not in first.out
    scores = scores_in(first)
    recorded = record_of(workplace, directory).data.metrics
    assert {name: recorded[name] for name in scores} == pytest.approx(scores, abs=1e-4)
    again = warm("evaluate", "multirun/pair/1", folder=workplace.folder)
    assert "tested before" in again.out
    assert scores_in(again) == scores


def test_another_checkpoint_is_tested_and_not_recorded(workplace, tested):
    before = record_of(workplace, workplace.run).data.metrics
    other = workplace.study / "0" / "checkpoints" / "last.ckpt"
    arguments = (str(workplace.run), "--checkpoint", str(other))
    answer = warm("evaluate", *arguments, folder=workplace.folder)
    assert scores_in(answer) != scores_in(tested)
    assert record_of(workplace, workplace.run).data.metrics == before


def test_the_scores_of_a_run_at_work_are_shown_and_not_recorded(workplace):
    """It may yet have a better epoch."""
    run, client = record_of(workplace, workplace.study / "0"), client_of(workplace)
    client.update_run(run.info.run_id, "RUNNING")
    try:
        answer = warm("evaluate", "multirun/pair/0", folder=workplace.folder)
    finally:
        client.update_run(run.info.run_id, "FINISHED")
    assert "still RUNNING" in answer.out
    assert set(scores_in(answer)) == {"test/loss", "test/accuracy", "test/macro_f1"}
    assert record_of(workplace, workplace.study / "0").data.metrics == run.data.metrics


def test_scores_that_cannot_be_recorded_are_shown(workplace, monkeypatch, capsys):
    """The run is gone from its store by then."""
    run, client = record_of(workplace, workplace.study / "0"), client_of(workplace)

    def tested_late(*_):
        client.delete_run(run.info.run_id)
        return {"test/loss": 0.25}

    monkeypatch.chdir(workplace.folder)
    monkeypatch.setattr("harnest.har.evaluation.evaluate", tested_late)
    monkeypatch.setattr(sys, "argv", ["harnest-evaluate", "multirun/pair/0"])
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        client.restore_run(run.info.run_id)
    answer = capsys.readouterr()
    assert (ended.value.code, answer.out) == (2, "test/loss      0.2500\n")
    (line,) = answer.err.splitlines()
    assert "did not take test/loss" in line
    assert record_of(workplace, workplace.study / "0").data.metrics == run.data.metrics


def test_the_same_scores_come_out_whatever_the_batches(workplace, tested):
    cfg = OmegaConf.load(workplace.run / ".hydra/config.yaml")
    for size in (1000, 50):
        cfg.data.batch_size = size
        scores = evaluate(cfg, workplace.run / "checkpoints/best.ckpt")
        assert scores == pytest.approx(scores_in(tested), abs=1e-4)


def test_a_run_of_several_processes_is_tested_by_one(workplace, tested):
    cfg = OmegaConf.load(workplace.run / ".hydra/config.yaml")
    cfg.trainer.devices, cfg.trainer.strategy = 2, "ddp"
    scores = evaluate(cfg, workplace.run / "checkpoints/best.ckpt")
    assert scores == pytest.approx(scores_in(tested), abs=1e-4)


def test_a_run_that_was_not_recorded_can_be_tested(workplace, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(workplace.run, copy)
    cfg = OmegaConf.load(copy / ".hydra/config.yaml")
    cfg.logger = None
    OmegaConf.save(cfg, copy / ".hydra/config.yaml")
    answer = warm("evaluate", "copy", folder=tmp_path)
    assert set(scores_in(answer)) == {"test/loss", "test/accuracy", "test/macro_f1"}
    assert {path.name for path in tmp_path.iterdir()} == {"copy"}


def test_a_run_without_a_best_checkpoint_can_be_tested_by_another(workplace, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(workplace.run, copy)
    (copy / "checkpoints/best.ckpt").rename(tmp_path / "kept.ckpt")
    line = warm("evaluate", "copy", folder=tmp_path).line
    assert "--checkpoint" in line
    store = f"--tracking-uri=sqlite:///{workplace.folder}/mlflow.db"
    answer = warm("evaluate", "copy", "--checkpoint=kept.ckpt", store, folder=tmp_path)
    assert set(scores_in(answer)) == {"test/loss", "test/accuracy", "test/macro_f1"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], ["nowhere", "neither the directory of a run nor the id of one"]),
        (["0" * 32], ["0" * 32, "neither the directory of a run nor the id of one"]),
        (["multirun"], ["multirun", "not a run directory"]),
        (["RUN", "--checkpoint", "gone.ckpt"], ["gone.ckpt", "there is no checkpoint"]),
        (["RUN", "--checkpoint", "cut.ckpt"], ["cut.ckpt", "not a readable checkpoint"]),
        (["RUN", "--checkpoint", "wide.ckpt"], ["wide.ckpt", "another architecture"]),
        (["RUN", "--tracking-uri", "sqlite:////nowhere/mlflow.db"], ["/nowhere"]),
    ],
)
def test_what_cannot_be_tested_is_told_in_one_line(workplace, arguments, told):
    state = torch.load(workplace.run / "checkpoints/best.ckpt", weights_only=True)
    state["state_dict"]["network.head.weight"] = torch.zeros(7, 99)
    torch.save(state, workplace.folder / "wide.ckpt")
    (workplace.folder / "cut.ckpt").write_bytes(b"PK")
    named = [str(workplace.run) if argument == "RUN" else argument for argument in arguments]
    line = warm("evaluate", *named, folder=workplace.folder).line
    assert not [part for part in told if part not in line], line
