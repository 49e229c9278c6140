"""A saved model on its way to MLflow: a LoggedModel, with its files and the metrics it reached."""

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

#: Windows that the model can be tried with, until MLflow has them in a form of its own.
EXAMPLE = "example.npy"


def describe(folder: Path) -> None:
    """Make an MLflow model of what `harnest.training.export.save` wrote into ``folder``, once.

    Whoever sends or loads it does this, and not the process that trains: to import MLflow takes
    longer than all the rest of a trial's record. For the same reason this is not
    `mlflow.pyfunc.save_model`, which would load the model and serve the example as well.
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
    """Log the model in ``folder`` as one that the run made.

    With ``again`` an earlier try may have come anywhere, and is gone on with.
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
    new = file.with_suffix(".new")  # the next try finds nothing that was written half
    model.save(str(new))
    new.replace(file)
