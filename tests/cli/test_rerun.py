"""The same run again: from a directory or the store, with the same score, or what differs."""

import re
import shutil
from pathlib import Path

import mlflow
import pytest

from commands import command, warm
from harnest.tracking.reproduce import differences
from servers import Server

pytestmark = [
    pytest.mark.xdist_group("workplace"),
    pytest.mark.filterwarnings("ignore:.*noload.*"),
    pytest.mark.usefixtures("tidied"),
]


@pytest.mark.slow
def test_the_stores_password_is_not_written(tmp_path):
    server = Server(tmp_path)
    server.start()
    try:
        address = server.address.replace("//", "//me:s3cr3t@")
        place, options = tmp_path / "place", ("trainer=cpu", "trainer.max_epochs=1")
        place.mkdir()
        first = command("train", *options, folder=place, MLFLOW_TRACKING_URI=address)
        assert first.code == 0, first
        (directory,) = (place / "outputs").glob("*/*")
        again = command("rerun", str(directory), folder=place, MLFLOW_TRACKING_URI=address)
        assert again.code == 0, again
    finally:
        server.kill()
    written = [file for file in place.rglob("*") if file.is_file()]
    assert len([file for file in written if file.name == "config.yaml"]) >= 2
    assert not [file for file in written if b"s3cr3t" in file.read_bytes()]


class Store:
    def __init__(self, folder):
        self.client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
        self.group = self.client.get_experiment_by_name("harnest").experiment_id

    def at(self, directory):
        (run,) = self.client.search_runs([self.group], f"tags.directory = '{directory}'")
        return run

    def repeats(self, run):
        found = f"tags.repeats = '{run.info.run_id}'"
        return self.client.search_runs([self.group], found)


@pytest.fixture
def store(workplace):
    return Store(workplace.folder)


def test_a_trial_comes_out_the_same(workplace, store):
    trial = store.at(workplace.study / "1")
    answer = warm("rerun", "multirun/pair/1", folder=workplace.folder)
    assert answer.code == 0, answer
    score = trial.data.metrics["objective"]
    assert f"score {score:.6f}, the same as recorded" in answer.out
    (again,) = store.repeats(trial)
    assert again.info.run_name == "trial-1 again"
    assert again.info.status == "FINISHED"
    assert again.data.metrics["objective"] == score
    assert "mlflow.parentRunId" not in again.data.tags
    directory = Path(again.data.tags["directory"])
    assert directory.parent.parent == workplace.folder / "outputs"
    assert (directory / "checkpoints" / "best.ckpt").is_file()
    # The study is as it was, and the new run can be repeated in its turn.
    rows = warm("compare", "pair", "--format", "csv", folder=workplace.folder).out.splitlines()
    assert len(rows) == 3


def test_a_run_whose_directory_is_gone_is_repeated_from_the_store(workplace, store, tmp_path):
    """Its recorded config names the old directory, and must not write there."""
    folder = tmp_path / "elsewhere"
    shutil.copytree(workplace.folder, folder)
    run = store.at(workplace.run)
    with_id = (run.info.run_id, "--tracking-uri", f"sqlite:///{folder}/mlflow.db")
    there = Store(folder)
    there.client.set_tag(run.info.run_id, "directory", str(folder / "gone"))
    config = there.client.download_artifacts(run.info.run_id, "config.yaml")
    text = Path(config).read_text().replace(str(workplace.run), str(folder / "gone"))
    there.client.log_text(run.info.run_id, text, "config.yaml")
    answer = warm("rerun", *with_id, folder=folder)
    there.client.log_text(run.info.run_id, Path(config).read_text(), "config.yaml")
    assert answer.code == 0, answer
    assert "the same as recorded" in answer.out
    assert not (folder / "gone").exists()


def test_another_score_names_what_differs(workplace, store):
    trial = store.at(workplace.study / "0")
    identity = trial.info.run_id
    score, version = trial.data.metrics["objective"], trial.data.tags["version.torch"]
    store.client.log_metric(identity, "objective", 0.123, step=1)
    store.client.set_tag(identity, "version.torch", "1.0")
    store.client.set_tag(identity, "data.digest", "other")
    try:
        answer = warm("rerun", identity, folder=workplace.folder)
    finally:
        store.client.log_metric(identity, "objective", score, step=2)
        store.client.set_tag(identity, "version.torch", version)
        store.client.set_tag(identity, "data.digest", trial.data.tags["data.digest"])
    assert answer.code == 1, answer
    before, _, after = answer.out.partition("score")
    assert f"differs: torch was 1.0, is {version}" in before
    assert f"{score:.6f}, not the recorded 0.123000; what differs:" in after
    assert f"torch was 1.0, is {version}" in after
    assert "data digest was other" in after


@pytest.mark.slow
def test_a_run_is_repeated_in_its_own_experiment(tmp_path):
    small = ("trainer=cpu", "model.hidden_size=4", "data.batch_size=128", "trainer.max_epochs=1")
    trained = warm("train", *small, "logger.mlflow.experiment=other", folder=tmp_path)
    assert trained.code == 0, trained
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    group = client.get_experiment_by_name("other").experiment_id
    (run,) = client.search_runs([group])
    client.log_metric(run.info.run_id, "objective", 0.123, step=1)
    answer = warm("rerun", run.info.run_id, folder=tmp_path)
    assert answer.code == 1, answer
    assert "not the recorded 0.123000; nothing that is recorded differs" in answer.out
    assert len(client.search_runs([group])) == 2


@pytest.mark.slow
def test_a_trial_of_several_objectives_and_one_of_several_runs(tmp_path):
    small = ("trainer=cpu", "model.hidden_size=4", "data.batch_size=128", "trainer.max_epochs=1")
    for study in (("two", "objective.extra={parameters: min}"), ("mean", "seeds=2")):
        options = (f"hydra.sweeper.study={study[0]}", study[1], "threads=1", *small)
        answer = command("train", "-m", "optimizer.lr=choice(1e-3)", *options, folder=tmp_path)
        assert answer.code == 0, answer
    again = warm("rerun", "multirun/two/0", folder=tmp_path)
    assert again.out.endswith(", the same as recorded\n"), again
    line = warm("rerun", "multirun/mean/0", folder=tmp_path).line
    assert re.search(r"has several runs: name one of them, .*/mean/0/seed-[01] for example", line)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "no study or run is called nowhere"),
        (["0" * 32], "the store has no run"),
        (["pair"], "is a study: name one of its trials"),
        (["nowhere", "--experiment", "nothing"], "no experiment nothing"),
        (["nowhere", "--tracking-uri", "sqlite:////nowhere/mlflow.db"], "/nowhere"),
    ],
)
def test_what_cannot_be_repeated_is_told_in_one_line(workplace, arguments, told):
    assert told in warm("rerun", *arguments, folder=workplace.folder).line


def test_only_what_is_known_now_can_differ():
    then = {"version.torch": "2", "threads": "1", "git.state": "clean"}
    assert differences(then, {"version.torch": "2"}) == []
    assert differences(then, {"version.torch": "3"}) == ["torch was 2, is 3"]
    assert differences(then, then | {"threads": "4"}) == ["threads was 1, is 4"]
    commit = "mlflow.source.git.commit"
    assert differences({commit: "a" * 40}, {}) == ["commit was aaaaaaaaaaaa, is none"]
    changed = differences({}, {"git.state": "2 files changed"})
    assert changed == ["the code had uncommitted changes (2 files changed)"]
