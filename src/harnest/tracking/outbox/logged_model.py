"""Logs a saved model to MLflow as a LoggedModel with its files and metrics."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harnest.tracking.outbox.operations import Write

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.models import Model

NAME = "model"

#: Example windows for the model, until `describe` converts them to MLflow's format.
EXAMPLE = "example.npy"


def describe(folder: Path) -> None:
    """Turn a folder written by `harnest.training.export.save` into an MLflow model.

    Does nothing if the folder is an MLflow model already. The process that uploads or loads the
    model calls this, not the process that trains: importing MLflow takes longer than all other
    recording of a trial. For the same reason this does not use `mlflow.pyfunc.save_model`, which
    would also load the model and run it on the example.
    """
    file = folder / "MLmodel"
    if file.is_file():
        return
    import mlflow.pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.models.utils import _save_example
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    (loader,) = (folder / "code").glob("*.py")
    facts = json.loads((folder / "data" / "facts.json").read_text())
    example = np.load(folder / EXAMPLE)
    inputs = Schema([TensorSpec(np.dtype(np.float32), (-1, *example.shape[1:]))])
    outputs = Schema([ColSpec(DataType.double, name) for name in facts["activities"]])
    model = Model(signature=ModelSignature(inputs, outputs), metadata=facts)
    mlflow.pyfunc.add_to_model(
        model, loader_module=loader.stem, code="code", data="data", python_env="python_env.yaml"
    )
    _save_example(model, example, str(folder))
    _write(model, file)
    (folder / EXAMPLE).unlink()


def send_model(
    client: "MlflowClient", run_id: str, write: Write, folder: Path, again: bool
) -> None:
    """Log the model in ``folder`` as an output of the run.

    Args:
        client: The store.
        run_id: The run that trained the model.
        write: The write, as made by `operations.model`.
        folder: Folder of the saved model.
        again: Whether an earlier attempt may have failed at any point; it is completed then.
    """
    from mlflow.entities import LoggedModelOutput, Metric
    from mlflow.models import Model

    describe(folder)
    run = client.get_run(run_id)
    experiment = run.info.experiment_id
    found: list[LoggedModel] = []
    if again:
        condition = f"source_run_id = '{run_id}' AND name = '{NAME}'"
        found = client.search_logged_models([experiment], condition)
    made = found[0] if found else client.create_logged_model(experiment, NAME, run_id)
    saved = Model.load(str(folder))
    saved.run_id, saved.model_id, saved.model_uuid = run_id, made.model_id, made.model_id
    saved.artifact_path = made.artifact_location
    _write(saved, folder / "MLmodel")
    client.log_model_artifacts(made.model_id, str(folder))
    metrics = [
        Metric(key, value, time, step, model_id=made.model_id)
        for key, value, time, step in write["metrics"]
    ]
    client.log_batch(run_id, metrics)
    client.finalize_logged_model(made.model_id, "READY")
    linked = run.outputs.model_outputs if run.outputs is not None else []
    if made.model_id not in {one.model_id for one in linked}:
        client.log_outputs(run_id, [LoggedModelOutput(made.model_id, write["step"])])


def _write(model: "Model", file: Path) -> None:
    new = file.with_suffix(".new")  # so that a retry never finds a partial file
    model.save(str(new))
    new.replace(file)
