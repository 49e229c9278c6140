"""Registers models of runs in MLflow's model registry and assigns the alias ``champion``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harnest.tracking.store import set_default_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun
    from mlflow.entities.model_registry import ModelVersion

#: The alias of the best model of a registered name: ``models:/NAME@champion``.
CHAMPION = "champion"

#: Tags that must be equal for two models' scores to be comparable.
_SAME = {"data.digest": "data", "subjects.test": "test subjects"}


def model_of_run(client: "MlflowClient", run: "MlflowRun") -> str | None:
    """Return the address of the model that a run logged last; None if it logged none."""
    found = client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'", max_results=1
    )
    return f"models:/{found[0].model_id}" if found else None


def register(
    client: "MlflowClient", name: str, run_id: str, model: str, tags: Mapping[str, str]
) -> str:
    """Register a logged model as a new version of ``name``; creates the name if needed.

    Args:
        client: The store.
        name: Name of the registered model.
        run_id: The run that logged the model.
        model: Address of the logged model, ``models:/ID``.
        tags: Tags of the version.

    Returns:
        The number of the version.

    Raises:
        MlflowException: The registry rejects the name or the version.
    """
    from mlflow.exceptions import MlflowException

    set_default_store(client.tracking_uri)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = client.create_model_version(
        name, model, run_id=run_id, tags=dict(tags), model_id=model.removeprefix("models:/")
    )
    return str(made.version)


def set_champion(client: "MlflowClient", name: str, version: str, metric: str, mode: str) -> str:
    """Give ``version`` the alias ``champion`` if it beats the current champion on the same data.

    Args:
        client: The store.
        name: Name of the registered model.
        version: The challenger.
        metric: Tag of the versions that holds their score.
        mode: ``max`` if a higher score is better, else ``min``.

    Returns:
        A line that states the decision. Versions that were measured on different data or test
        subjects, or lack the score, are not compared, and the champion stays.
    """
    challenger = client.get_model_version(name, version)
    champion = _champion(client, name)
    if champion is None:
        client.set_registered_model_alias(name, CHAMPION, version)
        return f"version {version} is the first champion of {name}"
    differ = [
        f"its {word} {'is' if word == 'data' else 'are'} different"
        for key, word in _SAME.items()
        if champion.tags.get(key) != challenger.tags.get(key)
    ]
    before, now = champion.tags.get(metric), challenger.tags.get(metric)
    if before is None or now is None:
        differ.append(f"it has no {metric}")
    if differ:
        return (
            f"version {version} cannot be compared with the champion, version "
            f"{champion.version}: {', '.join(differ)}; the champion stays"
        )
    assert before is not None
    assert now is not None
    is_better = float(now) > float(before) if mode == "max" else float(now) < float(before)
    scores = f"{metric} {float(now):.4f} against {float(before):.4f} of version {champion.version}"
    if not is_better:
        return f"version {version} does not beat the champion: {scores}"
    client.set_registered_model_alias(name, CHAMPION, version)
    return f"version {version} is the new champion of {name}: {scores}"


def _champion(client: "MlflowClient", name: str) -> "ModelVersion | None":
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
