"""A saved model on its way to MLflow: a LoggedModel, with its files and the metrics it reached."""

from pathlib import Path
from typing import TYPE_CHECKING

from harnest.tracking.writes import Write

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

NAME = "model"


def send_model(
    client: "MlflowClient", run_id: str, write: Write, folder: Path, again: bool
) -> None:
    """Log the model in ``folder`` as one that the run made.

    With ``again`` an earlier try may have come anywhere, and is gone on with.
    """
    from mlflow.entities import LoggedModelOutput, Metric
    from mlflow.models import Model

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
    whole = folder / "MLmodel.new"  # the next try finds nothing that was written half
    saved.save(str(whole))
    whole.replace(folder / "MLmodel")
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
