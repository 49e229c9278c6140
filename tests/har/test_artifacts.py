"""What a run's record holds beside numbers: figures, the model, the data set, what it cost."""

import json

import mlflow
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from sklearn.metrics import accuracy_score, f1_score

from commands import warm
from harnest.har.components import make_classifier, make_data

pytestmark = [
    pytest.mark.xdist_group("workplace"),
    pytest.mark.filterwarnings("ignore:.*noload.*"),
]

PICTURES = {"confusion", "per_class", "per_subject", "samples", "curves"}


@pytest.fixture(scope="module")
def client(workplace):
    return mlflow.MlflowClient(f"sqlite:///{workplace.folder}/mlflow.db")


@pytest.fixture(scope="module")
def runs(workplace, client):
    """The lone run and the trials, by directory."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return {run.data.tags["directory"]: run for run in client.search_runs(experiments)}


@pytest.fixture(scope="module", params=["alone", "in a study"])
def made(request, workplace, runs):
    """A run's directory and its record."""
    directory = workplace.run if request.param == "alone" else workplace.study / "0"
    return directory, runs[str(directory)]


@pytest.fixture(scope="module")
def best(made):
    """The network of the best epoch, the validation windows, their labels and subjects."""
    directory, _ = made
    cfg = OmegaConf.load(directory / ".hydra" / "config.yaml")
    data = make_data(cfg)
    classifier = make_classifier(cfg, data).eval()
    state = torch.load(directory / "checkpoints" / "best.ckpt", weights_only=True)
    classifier.load_state_dict(state["state_dict"])
    of = np.isin(data.windows.subjects, data.split.validation_subjects)
    x = np.array(data.windows.signals[of])
    with torch.no_grad():
        probabilities = classifier(torch.from_numpy(x)).softmax(dim=1).numpy()
    return x, data.windows.labels[of], probabilities


def test_figures_are_there_to_look_at_and_to_move_in(client, made):
    _, run = made
    listed = {one.path for one in client.list_artifacts(run.info.run_id, "figures/validation")}
    names = {f"{name}.png" for name in PICTURES} | {"figures.html"}
    assert listed == {f"figures/validation/{name}" for name in names}


def test_figures_show_the_validation_subjects_and_the_best_epoch(client, made, best):
    _, run = made
    page = client.download_artifacts(run.info.run_id, "figures/validation/figures.html")
    text = open(page).read()  # noqa: PTH123, SIM115
    content = text.partition('<script id="figures" type="application/json">')[2]
    figures = json.loads(content.partition("</script>")[0])
    _, labels, probabilities = best
    cells = np.array(figures["confusion"]["data"][0]["text"])
    assert cells.sum() == len(labels)
    assert np.trace(cells) == (probabilities.argmax(axis=1) == labels).sum()
    shown = {name.partition(" ")[0] for name in figures["per_subject"]["data"][0]["x"]}
    assert shown == set(run.data.tags["subjects.validation"].split(", "))
    assert len(figures["curves"]["data"][0]["x"]) == 2


def test_the_model_is_logged_with_what_it_reached(client, made, best):
    _, run = made
    (output,) = client.get_run(run.info.run_id).outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert (model.name, str(model.status)) == ("model", "READY")
    assert model.source_run_id == run.info.run_id
    _, labels, probabilities = best
    guesses = probabilities.argmax(axis=1)
    reached = {metric.key: metric.value for metric in model.metrics}
    assert reached["model/accuracy"] == pytest.approx(accuracy_score(labels, guesses))
    macro = f1_score(labels, guesses, average="macro")
    assert reached["model/macro_f1"] == pytest.approx(macro)
    assert run.data.metrics["model/macro_f1"] == reached["model/macro_f1"]
    assert run.data.metrics["objective"] == pytest.approx(macro, abs=1e-5)


@pytest.fixture
def in_store(workplace):
    """MLflow's own functions read the workplace's store."""
    mlflow.set_tracking_uri(f"sqlite:///{workplace.folder}/mlflow.db")
    yield
    mlflow.set_tracking_uri(None)  # and out of the environment, which commands inherit


@pytest.mark.usefixtures("in_store")
def test_the_logged_model_takes_raw_windows_and_names_activities(client, made, best):
    _, run = made
    (output,) = client.get_run(run.info.run_id).outputs.model_outputs
    model = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
    x, _, probabilities = best
    table = model.predict(x)
    assert table.columns[0] == "pendulum"
    np.testing.assert_allclose(table, probabilities, atol=1e-5)


THIEF = """
from pathlib import Path

from pytorch_lightning import Callback


class Thief(Callback):
    def on_fit_end(self, trainer, pl_module):
        Path(trainer.checkpoint_callback.best_model_path).unlink()
"""


def test_a_run_whose_best_checkpoint_is_gone_keeps_its_score(tidied, client, tmp_path):
    (tmp_path / "thief.py").write_text(THIEF)
    small = ("trainer=cpu", "model.hidden_size=8", "data.batch_size=128", "trainer.max_epochs=1")
    thief = (f"hydra.run.dir={tmp_path}/run", "+callbacks.thief._target_=thief.Thief")
    trusted = {"PYTHONPATH": str(tmp_path), "HARNEST_TRUST": "thief"}
    answer = warm("train", *small, *thief, folder=tidied.folder, **trusted)
    assert answer.code == 0, answer
    assert "neither figures nor a model" in answer.err
    group = client.get_experiment_by_name("harnest").experiment_id
    (run,) = client.search_runs([group], f"tags.directory = '{tmp_path}/run'")
    assert run.info.status == "FINISHED"
    assert 0 < run.data.metrics["objective"] < 1
    assert "figures" not in {one.path for one in client.list_artifacts(run.info.run_id)}


def test_the_data_set_is_an_input(client, made):
    _, run = made
    (found,) = client.get_run(run.info.run_id).inputs.dataset_inputs
    assert found.dataset.name == "watch"
    assert run.data.tags["data.digest"].startswith(found.dataset.digest)
    facts = json.loads(found.dataset.profile)
    assert facts["channels"][0] == "acc_x [g]"
    assert (facts["steps"], facts["rate_hz"]) == (200, 50.0)
    subjects = facts["subjects"]
    assert {", ".join(map(str, of)) for of in subjects.values()} == {
        run.data.tags[f"subjects.{part}"] for part in subjects
    }
    assert sum(facts["windows_of"].values()) == facts["windows"]


def test_what_each_epoch_cost_is_there(client, made):
    _, run = made
    seconds = client.get_metric_history(run.info.run_id, "epoch_seconds")
    assert [one.step for one in seconds] == [0, 1]
    windows = json.loads(client.get_run(run.info.run_id).inputs.dataset_inputs[0].dataset.profile)[
        "windows_of"
    ]["train"]
    rates = client.get_metric_history(run.info.run_id, "windows_per_second")
    assert [r.value * s.value for r, s in zip(rates, seconds, strict=True)] == pytest.approx(
        [windows, windows], rel=1e-3
    )
    assert 0 < run.data.metrics["system/cpu_utilization_percentage"] < 100 * 64
    assert run.data.metrics["system/process_memory_usage_megabytes"] > 50


@pytest.mark.usefixtures("in_store")
def test_a_recording_is_told_by_run_id_directory_and_registered_name(
    workplace, client, made, best, tmp_path
):
    directory, run = made
    (output,) = client.get_run(run.info.run_id).outputs.model_outputs
    name = f"mine-{directory.name}"
    client.create_registered_model(name)
    version = client.create_model_version(
        name, f"models:/{output.model_id}", model_id=output.model_id
    )
    client.set_registered_model_alias(name, "champion", version.version)
    x, _, probabilities = best
    header = "acc_x [g],acc_y,acc_z,gyro_x,gyro_y,gyro_z [rad/s]"
    np.savetxt(tmp_path / "a.csv", x[:3].reshape(-1, 6), "%.9g", ",", header=header, comments="")
    answers = [
        warm("predict", model, str(tmp_path / "a.csv"), "--rate", "50", folder=workplace.folder)
        for model in (str(directory), run.info.run_id, name, f"{name}@champion", f"{name}/1")
    ]
    assert [(answer.code, answer.err) for answer in answers] == [(0, "")] * 5
    assert len({answer.out for answer in answers}) == 1
    head, *lines = answers[0].out.splitlines()
    assert head.startswith("start,end,activity,probability,pendulum,")
    assert [line.split(",")[:2] for line in lines[:2]] == [
        ["0.0000", "4.0000"],
        ["2.0000", "6.0000"],
    ]
    got = [[float(cell) for cell in line.split(",")[4:]] for line in lines[::2]]
    np.testing.assert_allclose(got, probabilities[:3], atol=1e-3)


def test_a_model_is_found_in_a_store_elsewhere(workplace, made, best, tmp_path):
    header = "acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z"
    np.savetxt(tmp_path / "a.csv", best[0][0], "%.9g", ",", header=header, comments="")
    store = f"sqlite:///{workplace.folder}/mlflow.db"
    options = (str(tmp_path / "a.csv"), "--rate", "50", "--tracking-uri", store)
    answer = warm("predict", made[1].info.run_id, *options, folder=tmp_path)
    assert (answer.code, answer.err) == (0, "")
    assert not (tmp_path / "mlflow.db").exists()


def test_a_recording_is_told_to_a_file_and_drawn(workplace, tmp_path):
    columns = "time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z"
    times = np.arange(0, 9.3, 0.01)
    table = np.column_stack([times, *[np.sin(times)] * 6])
    np.savetxt(tmp_path / "a.csv", table, "%.6f", ",", header=columns, comments="")
    options = ["--step", "1", "-o", str(tmp_path / "b.csv"), "--plot", str(tmp_path / "b.png")]
    answer = warm("predict", str(workplace.run), str(tmp_path / "a.csv"), *options, folder=tmp_path)
    assert (answer.code, answer.out) == (0, "")
    assert answer.err == f"{tmp_path}/a.csv: resampled from 100 to 50 Hz\n"
    lines = (tmp_path / "b.csv").read_text().splitlines()[1:]
    starts = [float(line.partition(",")[0]) for line in lines]
    assert starts == [0, 1, 2, 3, 4, 5, 5.3]
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")


def test_times_are_those_of_a_recording_that_is_a_little_faster(workplace, tmp_path):
    columns = "time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z"
    times = 7 + np.arange(30_000) / 50.4
    table = np.column_stack([times, *[np.sin(times)] * 6])
    np.savetxt(tmp_path / "a.csv", table, "%.6f", ",", header=columns, comments="")
    options = (str(tmp_path / "a.csv"), "--step", "2")
    answer = warm("predict", str(workplace.run), *options, folder=tmp_path)
    assert (answer.code, answer.err) == (0, "")
    lines = [line.split(",")[:2] for line in answer.out.splitlines()[1:]]
    spans = np.array(lines, dtype=float)
    assert spans[0, 0] == 7
    assert spans[-1, 1] == pytest.approx(times[-1] + 1 / 50.4, abs=1e-3)
    np.testing.assert_allclose(np.diff(spans[:-1, 0]), 2, atol=0.01)
    np.testing.assert_allclose(np.diff(spans), 200 / 50.4, atol=1e-3)


STEPS = ("0", "-1", "nan", "inf", "1e+308")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere", "a.csv"], "neither a run's directory, nor the id of a run"),
        (["multirun", "a.csv"], "holds no model"),
        (["RUN", "gone.csv"], "there is no file gone.csv"),
        (["RUN", "a.csv"], "no column acc_x [g]"),
        (["RUN", "short.csv", "--rate", "50"], "shorter than the model's window of 4 s"),
        *((["RUN", "long.csv", "--rate", "50", "--step", s], f"--step {s}: ") for s in STEPS),
        (["nowhere", "long.csv", "--plot", "a.foo"], "--plot a.foo: unsupported image format .foo"),
        (["nowhere", "long.csv", "--plot", "gone/a.png"], "--plot gone/a.png: there is no folder"),
        (["nowhere", "long.csv", "-o", "gone/a.csv"], "-o gone/a.csv: there is no folder gone"),
        (["nowhere", "long.csv", "-o", "."], "-o .: it is a folder; choose another place"),
    ],
)
def test_what_cannot_be_predicted_is_told_in_one_line(workplace, arguments, told):
    (workplace.folder / "a.csv").write_text("time,x\n0,1\n")
    header = "acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z\n"
    (workplace.folder / "short.csv").write_text(header + "0,0,0,0,0,0\n" * 20)
    (workplace.folder / "long.csv").write_text(header + "0,0,0,0,0,0\n" * 250)
    named = [str(workplace.run) if one == "RUN" else one for one in arguments]
    assert told in warm("predict", *named, folder=workplace.folder).line


def test_there_is_nothing_to_send_and_nothing_is_sent(workplace):
    answer = warm("sync", ".", folder=workplace.folder)
    assert answer.code == 0
    assert answer.out.splitlines()[-1].endswith("0 of them had unsent writes")
    assert "no run log" in warm("sync", "nowhere", folder=workplace.folder).line


def test_a_test_adds_the_same_figures_of_the_test_subjects(workplace, client, runs):
    directory = workplace.study / "0"
    run_id = runs[str(directory)].info.run_id
    assert warm("evaluate", str(directory), folder=workplace.folder).code == 0
    listed = {one.path for one in client.list_artifacts(run_id, "figures/test")}
    names = {f"{name}.png" for name in PICTURES - {"curves"}} | {"figures.html"}
    assert listed == {f"figures/test/{name}" for name in names}
