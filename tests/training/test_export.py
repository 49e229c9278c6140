"""A classifier that leaves this project: the same probabilities, and nothing of it needed."""

import json
import os
import subprocess
import time
import urllib.request
import venv
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pytest
import torch
from torch import nn

from harnest.core.errors import TrackingError
from harnest.har.artifacts import _LOADER
from harnest.har.classifier import Classifier
from harnest.har.networks.lstm import LSTM
from harnest.tracking.outbox.logged_model import describe
from harnest.tracking.registry.serving import load_model
from harnest.training.export import NotPortableError, save
from limits import HANG_TIMEOUT
from servers import free_port

ACTIVITIES = ["walk", "run", "sit"]
FACTS = {
    "activities": ACTIVITIES,
    "channels": [{"name": "acc_x", "unit": "g"}, {"name": "acc_y", "unit": "g"}],
    "rate": 50.0,
    "steps": 40,
}


def classifier_of(network):
    torch.manual_seed(0)
    made = Classifier(
        network, mean=torch.tensor([1.0, -2.0]), std=torch.tensor([3.0, 4.0]), classes=3
    )
    return made.eval()


def windows(count=8):
    return np.random.default_rng(0).normal(0, 5, (count, 40, 2)).astype(np.float32)


def probabilities(classifier, x):
    with torch.no_grad():
        return classifier(torch.from_numpy(x)).softmax(dim=1).numpy()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    classifier = classifier_of(
        LSTM(2, 3, hidden_size=8, layers=2, bidirectional=True, dropout=0.5, pooling="attention")
    )
    folder = tmp_path_factory.mktemp("saved") / "model"
    save(classifier, windows(), FACTS, _LOADER, folder)
    describe(folder)
    return classifier, folder


@pytest.mark.parametrize("count", [1, 3, 700])
def test_raw_windows_give_probabilities_by_name(saved, count):
    classifier, folder = saved
    table = mlflow.pyfunc.load_model(str(folder)).predict(windows(count))
    assert list(table.columns) == ACTIVITIES
    np.testing.assert_allclose(table, probabilities(classifier, windows(count)), atol=1e-6)
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-5)


def test_it_says_what_goes_in_and_what_comes_out(saved):
    _, folder = saved
    model = mlflow.pyfunc.load_model(str(folder))
    assert model.metadata.metadata == FACTS
    (tensor,) = model.metadata.signature.inputs.inputs
    assert (tensor.shape, tensor.type) == ((-1, 40, 2), np.float32)
    assert model.metadata.signature.outputs.input_names() == ACTIVITIES
    example = model.input_example
    np.testing.assert_array_equal(example, windows()[:2])
    needs = (folder / "requirements.txt").read_text()
    assert {line.partition("==")[0] for line in needs.splitlines()} == {
        "mlflow-skinny",
        "torch",
        "numpy",
        "pandas",
    }
    assert "+" not in needs  # a local build of torch is in no registry


def test_a_run_that_was_not_sent_yet_can_be_applied_and_stays_as_it_is(tmp_path):
    folder = tmp_path / "record" / "model"
    classifier = classifier_of(LSTM(2, 3, hidden_size=4))
    save(classifier, windows(), FACTS, _LOADER, folder)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    table = load_model(str(tmp_path), "sqlite:///nowhere.db").predict(windows())
    np.testing.assert_allclose(table, probabilities(classifier, windows()), atol=1e-6)
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


def test_a_model_that_is_not_saved_to_its_end_is_none(tmp_path, monkeypatch):
    class KilledError(BaseException):
        """What no handler of an error takes."""

    def half(file, array):
        Path(file).write_bytes(b"\x93NUMPY")
        raise KilledError

    monkeypatch.setattr(np, "save", half)
    with pytest.raises(KilledError):
        save(classifier_of(LSTM(2, 3)), windows(), FACTS, _LOADER, tmp_path / "record" / "model")
    with pytest.raises(TrackingError, match="holds no model"):
        load_model(str(tmp_path), "sqlite:///nowhere.db")


@pytest.mark.parametrize("moment", ["before it is copied", "as it is copied"])
def test_a_run_that_is_sent_meanwhile_can_be_applied(tmp_path, monkeypatch, moment):
    folder = tmp_path / "record" / "model"
    classifier = classifier_of(LSTM(2, 3, hidden_size=4))
    save(classifier, windows(), FACTS, _LOADER, folder)
    is_file, makedirs, sent = Path.is_file, os.makedirs, []

    def send():
        if not sent:
            sent.append(folder)
            describe(folder)

    def looked(path):
        answer = is_file(path)
        if moment == "before it is copied" and path == folder / "MLmodel":
            send()
        return answer

    def made(path, *arguments, **options):  # once the copy knows what there is
        if moment == "as it is copied" and Path(path).name == "model":
            send()
        makedirs(path, *arguments, **options)

    monkeypatch.setattr(Path, "is_file", looked)
    monkeypatch.setattr(os, "makedirs", made)
    table = load_model(str(tmp_path), "sqlite:///nowhere.db").predict(windows())
    np.testing.assert_allclose(table, probabilities(classifier, windows()), atol=1e-6)
    assert sent


@pytest.mark.parametrize(
    ("x", "told"),
    [(windows()[:, :30], "40"), (np.full((1, 40, 2), np.nan, np.float32), "NaN")],
)
def test_other_windows_are_refused(saved, x, told):
    with pytest.raises(Exception, match=told):
        mlflow.pyfunc.load_model(str(saved[1])).predict(x)


class Branching(nn.Module):
    """Goes another way for loud windows, which no trace can see."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2, 3)

    def forward(self, x):
        return self.head(x.mean(dim=1)) * (1 if x[0].abs().max() > 1e6 or len(x) == 1 else -1)


class Impossible(nn.Module):
    def forward(self, x):
        raise RuntimeError("not like this")


@pytest.mark.parametrize(
    ("network", "told"), [(Branching(), "are off by"), (Impossible(), "not like this")]
)
def test_a_network_that_cannot_leave_is_told(tmp_path, network, told):
    with pytest.raises(NotPortableError, match=told):
        save(classifier_of(network), windows(), FACTS, _LOADER, tmp_path / "model")


KEPT_OUT = ("harnest", "pytorch_lightning", "lightning", "torchmetrics", "hydra", "omegaconf")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Python of an environment that lacks this project, and what only this project needs.

    What is there are links to this environment's packages: to install torch takes minutes.
    """
    folder = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for package in Path(torch.__file__).parents[1].iterdir():
        name = package.name.lower()
        if package.suffix != ".pth" and not name.startswith((*KEPT_OUT, "optuna")):
            (site / package.name).symlink_to(package)
    python = folder / "bin" / "python"
    server = folder / "bin" / "uvicorn"
    server.write_text(f"#!{python}\nfrom uvicorn import main\nmain()\n")
    server.chmod(0o755)
    return python


def environment():
    cleared = {key: text for key, text in os.environ.items() if key != "PYTHONPATH"}
    return cleared | {"MLFLOW_DISABLE_TELEMETRY": "true"}


@pytest.mark.slow
def test_it_is_loaded_where_this_project_is_not(saved, bare, tmp_path):
    classifier, folder = saved
    np.save(tmp_path / "x.npy", windows())
    program = f"""
import importlib.util, sys
import mlflow.pyfunc, numpy as np
for name in {KEPT_OUT}:
    assert importlib.util.find_spec(name) is None, name
table = mlflow.pyfunc.load_model({str(folder)!r}).predict(np.load("x.npy"))
table.to_csv("y.csv", index=False)
"""
    subprocess.run(
        [bare, "-c", program], cwd=tmp_path, env=environment(), check=True, timeout=HANG_TIMEOUT
    )
    lines = (tmp_path / "y.csv").read_text().splitlines()
    assert lines[0] == ",".join(ACTIVITIES)
    got = np.array([[float(cell) for cell in line.split(",")] for line in lines[1:]])
    np.testing.assert_allclose(got, probabilities(classifier, windows()), atol=1e-6)


@pytest.mark.slow
def test_it_is_served_where_this_project_is_not(saved, bare, tmp_path):
    classifier, folder = saved
    port = free_port()
    options = ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(
        [bare, "-m", "mlflow", "models", "serve", "-m", str(folder), *options],
        cwd=tmp_path,
        env=environment() | {"PATH": f"{bare.parent}:{os.environ['PATH']}"},
        stdout=(tmp_path / "server.log").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        answer = ask(port, {"inputs": windows(3).tolist()}, tmp_path / "server.log")
    finally:
        os.killpg(server.pid, 9)
        server.wait()
    got = [[line[name] for name in ACTIVITIES] for line in answer["predictions"]]
    np.testing.assert_allclose(got, probabilities(classifier, windows(3)), atol=1e-6)


def ask(port, question, log):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps(question).encode(),
        {"Content-Type": "application/json"},
    )
    deadline = time.monotonic() + HANG_TIMEOUT
    while True:
        try:
            return json.loads(urllib.request.urlopen(request, timeout=30).read())
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode() + log.read_text()) from error
        except OSError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.3)
