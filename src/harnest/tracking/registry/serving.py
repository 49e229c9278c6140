"""Loads models for inference: from a run, or from the model registry."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from harnest.core.errors import TrackingError
from harnest.tracking.outbox.logged_model import EXAMPLE, describe
from harnest.tracking.outbox.runlog import RECORD
from harnest.tracking.registry.champion import CHAMPION
from harnest.tracking.store import open_existing, set_default_store

if TYPE_CHECKING:
    from mlflow import MlflowClient


def load_model(name: str, address: str) -> Any:
    """Load an `mlflow.pyfunc` model.

    Args:
        name: A run's directory, a run ID or a prefix of one, the name of a registered model (its
            alias ``champion``, or else its latest version), ``NAME@ALIAS``, ``NAME/VERSION``, or
            any address that begins with ``models:/``.
        address: Address of the MLflow store.

    Raises:
        TrackingError: There is no such model, or it cannot be loaded.
    """
    directory = Path(name)
    if directory.is_dir():
        where = directory / RECORD / "model"
        is_saved = (where / EXAMPLE).is_file()  # a run saves the example last
        # Checked after `is_saved`: the uploader writes MLmodel first and then removes the example.
        if (where / "MLmodel").is_file():
            return _load(str(where))
        if not is_saved:
            raise TrackingError(
                f"{directory} holds no model: it is not a run directory, or its run was pruned or "
                "ended before its model was saved"
            )
        # The model is not uploaded yet. Only the uploader may write to that folder, so convert a
        # copy.
        with TemporaryDirectory() as folder:
            try:
                copy = shutil.copytree(where, Path(folder, "model"))
            except shutil.Error:
                if not (where / "MLmodel").is_file():
                    raise
                return load_model(name, address)  # the uploader has just converted it
            describe(copy)
            return _load(str(copy))
    client = open_existing(address)
    set_default_store(address)
    return _load(name if name.startswith("models:/") else _address_of(client, name))


def _load(where: str) -> Any:
    import mlflow.pyfunc
    from mlflow.exceptions import MlflowException

    try:
        return mlflow.pyfunc.load_model(where)
    except (MlflowException, OSError) as error:
        first = str(error).strip().splitlines()[0]
        raise TrackingError(f"the model {where} cannot be loaded: {first}") from error


def _address_of(client: "MlflowClient", name: str) -> str:
    from mlflow.exceptions import MlflowException

    from harnest.tracking.find_runs import find_by_id_prefix

    try:
        run = client.get_run(name)
    except MlflowException:
        begins = None if _is_registered(client, name) else find_by_id_prefix(client, name)
        if begins is None:
            return _registered(client, name)
        run = begins
    outputs = run.outputs.model_outputs if run.outputs is not None else []
    if not outputs:
        raise TrackingError(
            f"run {name} has no model: it was pruned, or ended before its model was saved"
        )
    return f"models:/{outputs[-1].model_id}"


def _is_registered(client: "MlflowClient", name: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(name)
    except MlflowException:
        return False
    return True


def _registered(client: "MlflowClient", name: str) -> str:
    from mlflow.exceptions import MlflowException

    if "@" in name or "/" in name:
        return f"models:/{name}"
    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        raise TrackingError(
            f"{name} is neither a run's directory, nor the id of a run in the MLflow store, nor a "
            "registered model"
        ) from error
    if CHAMPION in model.aliases:
        return f"models:/{name}@{CHAMPION}"
    versions = client.search_model_versions(f"name = '{name}'")
    if not versions:
        raise TrackingError(f"the registered model {name} has no version yet")
    return f"models:/{name}/{max(int(one.version) for one in versions)}"
