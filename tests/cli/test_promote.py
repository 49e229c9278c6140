"""From a study's winner to refits that were tested, and what the record says of them."""

import re
import signal
import statistics

import mlflow
import numpy as np
import pytest
from sklearn.metrics import f1_score

from commands import command, warm
from harnest.har.components import make_data
from harnest.har.evaluation import chance_scores
from harnest.study.execution.slot import find_slots
from harnest.tracking.reproduce import config_of
from harnest.tracking.run_writer import OBJECTIVE

pytestmark = [
    pytest.mark.xdist_group("workplace"),
    pytest.mark.filterwarnings("ignore:.*noload.*"),
    pytest.mark.usefixtures("tidied"),
]


@pytest.fixture(scope="module")
def client(workplace):
    return mlflow.MlflowClient(f"sqlite:///{workplace.folder}/mlflow.db")


def runs(client, condition):
    group = client.get_experiment_by_name("harnest").experiment_id
    return client.search_runs([group], condition, order_by=["attributes.start_time ASC"])


def parent_of(client):
    (parent,) = runs(client, "tags.`study.identity` != '' AND tags.trial IS NULL")
    return parent


@pytest.fixture(scope="module")
def promoted(workplace, client):
    before = [run.data.metrics for run in runs(client, "tags.trial != ''")]
    answer = warm("promote", "pair", "--seeds", "2", folder=workplace.folder)
    assert answer.code == 0, answer
    assert [run.data.metrics for run in runs(client, "tags.trial != ''")] == before
    return answer


def test_each_seed_is_a_tested_child_of_the_study(client, promoted):
    parent = parent_of(client)
    winner = client.get_run(parent.data.tags["best.run_id"])
    refits = runs(client, f"tags.refit = '{winner.info.run_id}'")
    # The winner's is 0. They are trained side by side, and either may be the first.
    assert sorted(run.data.tags["seed"] for run in refits) == ["1", "2"]
    for run in refits:
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["study"] == "pair"
        assert run.data.params["optimizer.lr"] == winner.data.params["optimizer.lr"]
        assert {"test/loss", "test/accuracy", "test/macro_f1"} <= set(run.data.metrics)


def test_mean_and_deviation_are_in_the_studys_run(client, promoted):
    parent = parent_of(client)
    scores = [run.data.metrics["test/macro_f1"] for run in runs(client, "tags.refit != ''")]
    mean, deviation = statistics.fmean(scores), statistics.stdev(scores)
    assert parent.data.metrics["test/macro_f1.mean"] == pytest.approx(mean)
    assert parent.data.metrics["test/macro_f1.std"] == pytest.approx(deviation)
    assert f"{mean:.4f} ± {deviation:.4f}, 2 seeds" in promoted.out
    assert parent.info.status == "FINISHED"


def test_refits_train_side_by_side_and_say_how_they_stand(promoted):
    told = re.findall(r"^refit of trial-\d with seed (\d) (started|ended)", promoted.out, re.M)
    assert sorted(told) == [("1", "ended"), ("1", "started"), ("2", "ended"), ("2", "started")]
    if len(find_slots("auto", 1, "auto")) > 1:
        assert [what for _, what in told[:2]] == ["started", "started"]
    assert re.search(r"seed \d ended: val/macro_f1 0\.\d{4}; 0 to go$", promoted.out, re.M)


def test_a_refit_scores_what_the_same_run_scores_alone(workplace, client, promoted):
    winner = client.get_run(parent_of(client).data.tags["best.run_id"])
    small = ("trainer=cpu", "model.hidden_size=8", "data.batch_size=128", "trainer.max_epochs=2")
    same = ("seed=1", f"optimizer.lr={winner.data.params['optimizer.lr']}")
    answer = warm("train", *small, *same, folder=workplace.folder)
    assert answer.code == 0, answer
    refitted, alone = runs(client, "tags.seed = '1' AND metrics.`objective` > 0")
    assert refitted.data.tags["refit"] == winner.info.run_id
    assert alone.data.metrics[OBJECTIVE] == refitted.data.metrics[OBJECTIVE]


def test_the_validation_score_of_the_refits_stands_beside_the_studys(client, promoted):
    parent = parent_of(client)
    winner = client.get_run(parent.data.tags["best.run_id"])
    scores = [run.data.metrics[OBJECTIVE] for run in runs(client, "tags.refit != ''")]
    mean, deviation = statistics.fmean(scores), statistics.stdev(scores)
    assert parent.data.metrics["val/macro_f1.mean"] == pytest.approx(mean)
    assert parent.data.metrics["val/macro_f1.std"] == pytest.approx(deviation)
    chosen = winner.data.metrics[OBJECTIVE]
    told = f"{mean:.4f} ± {deviation:.4f}, 2 seeds; in the study, which chose by it, {chosen:.4f}"
    assert told in promoted.out


def test_an_interrupt_ends_all_refits_and_registers_nothing(workplace, client, promoted):
    before = {run.info.run_id for run in runs(client, "")}
    there = set(workplace.folder.glob("outputs/*/*"))

    def has_begun():
        return bool(set(workplace.folder.glob("outputs/*/*")) - there)

    answer = warm(
        *("promote", "pair", "--seeds", "12", "--name", "unfinished"),
        folder=workplace.folder,
        interrupt=(signal.SIGINT, has_begun),
    )
    assert answer.code == 130, answer
    assert answer.err.splitlines() == ["interrupted"]
    new = [run for run in runs(client, "") if run.info.run_id not in before]
    assert {run.info.status for run in new} <= {"FINISHED", "KILLED"}
    assert client.search_registered_models("name = 'unfinished'") == []


def test_a_seed_that_was_refitted_is_not_trained_again(workplace, client, promoted):
    before = len(runs(client, ""))
    again = warm("promote", "multirun/pair", "--seeds", "2", folder=workplace.folder)
    assert again.code == 0, again
    assert "refit of" not in again.out
    assert len(runs(client, "")) == before


def test_the_study_goes_on_as_if_there_were_no_refits(workplace, client, promoted):
    rows = warm("compare", "pair", "--format", "csv", folder=workplace.folder).out.splitlines()
    assert len(rows) == 3
    small = ("trainer=cpu", "model.hidden_size=8", "data.batch_size=128", "trainer.max_epochs=2")
    study = ("hydra.sweeper.study=pair", "optimizer.lr=1e-4,1e-2")
    answer = warm("train", "-m", *study, *small, folder=workplace.folder)
    assert answer.code == 0, answer
    assert "study pair is complete" in answer.out
    parent = parent_of(client)
    assert parent.data.tags["trials.complete"] == "2"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "no study or run is called nowhere"),
        (["RUN"], "is a run, not a study"),
        (["pair", "--trial", "7"], "study pair has no finished trial 7"),
        (["pair", "--experiment", "nothing"], "no experiment nothing"),
        (["pair", "--seeds", "9", "--name", "a/b"], "cannot be called a/b: give a --name without"),
    ],
)
def test_what_cannot_be_promoted_is_told_in_one_line(workplace, arguments, told):
    named = [str(workplace.run) if argument == "RUN" else argument for argument in arguments]
    assert told in warm("promote", *named, folder=workplace.folder).line


def test_a_study_in_a_store_elsewhere(workplace, promoted, tmp_path):
    store = f"sqlite:///{workplace.folder}/mlflow.db"
    options = ("--seeds", "2", "--name", "elsewhere", "--tracking-uri", store)
    answer = warm("promote", "pair", *options, folder=tmp_path)
    assert answer.code == 0, answer
    assert "registered as version 1 of elsewhere" in answer.out
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.slow
def test_a_study_without_checkpoints_is_refused_before_it_is_refitted(tmp_path):
    small = ("trainer=cpu", "model.hidden_size=4", "data.batch_size=256", "trainer.max_epochs=1")
    study = ("-m", "hydra.sweeper.study=none", "callbacks=none", "seed=5,6", *small)
    assert command("train", *study, folder=tmp_path).code == 0
    line = warm("promote", "none", folder=tmp_path).line
    assert "study none keeps no checkpoints/best.ckpt that could be tested" in line
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_seeds_are_new_and_nobody_need_have_validated(tmp_path):
    everyone = ("data.validation=null", "objective.metric=train/loss", "seeds=2")
    small = ("trainer=cpu", "model.hidden_size=4", "data.batch_size=256", "trainer.max_epochs=1")
    study = ("-m", "hydra.sweeper.study=all", *everyone, *small)
    assert command("train", *study, folder=tmp_path).code == 0
    answer = command("promote", "all", "--seeds", "1", "--force", folder=tmp_path)
    assert answer.code == 0, answer
    assert "refit of trial-0 with seed 2" in answer.out
    assert "the best in train/loss" in answer.out
    assert "test/loss" in answer.out


@pytest.mark.slow
def test_what_is_no_better_than_guessing_is_registered_by_force_alone(tmp_path):
    small = ("trainer=cpu", "model.hidden_size=4", "data.batch_size=256", "trainer.max_epochs=1")
    study = ("-m", "hydra.sweeper.study=poor", "optimizer.lr=1e-9,2e-9", *small)
    assert command("train", *study, folder=tmp_path).code == 0
    refused = command("promote", "poor", "--seeds", "1", folder=tmp_path)
    assert refused.code == 1, refused
    (line,) = refused.err.splitlines()
    assert "is no better than guessing" in line
    assert "nothing is registered; --force" in line
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    assert client.search_registered_models() == []
    forced = command("promote", "poor", "--seeds", "1", "--force", folder=tmp_path)
    assert forced.code == 0, forced
    assert "is the first champion of harnest-watch" in forced.out
    assert "is no better than guessing" in forced.err


def test_chance_is_what_a_guess_expects(workplace, client):
    cfg = config_of(client, client.get_run(parent_of(client).data.tags["best.run_id"]))
    guessed = chance_scores(cfg)
    data = make_data(cfg)
    labels, classes = data.tensors("test")[1].numpy(), len(data.windows.activities)
    drawn = np.random.default_rng(0).integers(classes, size=(200, len(labels)))
    scores = [f1_score(labels, one, average="macro") for one in drawn]
    assert guessed["test/macro_f1"] == pytest.approx(np.mean(scores), abs=0.005)
    assert guessed["test/accuracy"] == np.bincount(labels).max() / len(labels)
    assert guessed["test/loss"] == pytest.approx(np.log(classes))
