"""Registered models, and which of them is the champion."""

import shutil

import mlflow
import pytest

from harnest.tracking.registry.champion import model_of_run, register, set_champion

FACTS = {"data.digest": "d1", "subjects.test": "1, 2"}


class Constant(mlflow.pyfunc.PythonModel):
    """A model that says the same of everything."""

    def predict(self, model_input: list[float]) -> list[float]:
        return [1.0 for _ in model_input]


@pytest.fixture(scope="module")
def recorded(empty_store, tmp_path_factory):
    """A store with a run that logged a model, and one that did not."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(empty_store, folder / "mlflow.db")
    address = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(address)
    mlflow.set_registry_uri(address)
    client = mlflow.MlflowClient(address)
    experiment = client.create_experiment("models", str(folder / "artifacts"))
    with mlflow.start_run(experiment_id=experiment) as run:
        logged = mlflow.pyfunc.log_model(
            name="model", python_model=Constant(), pip_requirements=["mlflow"]
        )
    other = client.create_run(experiment)
    yield client, client.get_run(run.info.run_id), other, logged
    mlflow.set_registry_uri(None)
    mlflow.set_tracking_uri(None)  # and out of the environment, which commands inherit


def test_the_model_of_a_run_is_found(recorded):
    client, run, other, logged = recorded
    assert model_of_run(client, run) == f"models:/{logged.model_id}"
    assert model_of_run(client, other) is None


def test_a_registered_model_can_be_loaded_by_its_alias(recorded):
    client, run, _, logged = recorded
    identity, model = run.info.run_id, f"models:/{logged.model_id}"
    version = register(client, "one", identity, model, FACTS | {"f1": "0.5"})
    assert (
        set_champion(client, "one", version, "f1", "max")
        == "version 1 is the first champion of one"
    )
    assert client.get_model_version("one", version).run_id == identity
    loaded = mlflow.pyfunc.load_model("models:/one@champion")
    assert loaded.predict([0.0, 0.0]) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("tags", "mode", "champion", "told"),
    [
        ({"f1": "0.6"}, "max", "2", "version 2 is the new champion of NAME: f1 0.6000 against"),
        ({"f1": "0.5"}, "max", "1", "version 2 does not beat the champion: f1 0.5000 against"),
        ({"f1": "0.4"}, "max", "1", "does not beat"),
        ({"f1": "0.4"}, "min", "2", "new champion"),
        ({"f1": "0.9", "data.digest": "d2"}, "max", "1", "its data is different"),
        ({"f1": "0.9", "subjects.test": "3"}, "max", "1", "its test subjects are different"),
        ({}, "max", "1", "it has no f1"),
    ],
)
def test_the_champion_is_beaten_on_the_same_data_only(
    recorded, request, tags, mode, champion, told
):
    client, run, _, logged = recorded
    name = f"{abs(hash(request.node.name))}"
    model = f"models:/{logged.model_id}"
    first = register(client, name, run.info.run_id, model, FACTS | {"f1": "0.5"})
    set_champion(client, name, first, "f1", mode)
    second = register(client, name, run.info.run_id, model, FACTS | tags)
    assert told.replace("NAME", name) in set_champion(client, name, second, "f1", mode)
    assert client.get_model_version_by_alias(name, "champion").version == int(champion)
