"""The kinds of writes to a run, as JSON-serializable data, and their delivery to MLflow."""

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: One write: its ``kind``, and the fields of that kind.
Write = dict[str, Any]

_LONGEST_PARAM = 6000  # MLflow's limit, in characters
_LONGEST_DIGEST = 36  # MLflow's limit for the digest of a data set, in characters
_MOST = {"metrics": 1000, "params": 100, "tags": 100}  # MLflow's limits per request


def values(
    *,
    metrics: Mapping[str, float] | None = None,
    step: int = 0,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> Write:
    """Return a write of metrics, parameters and tags.

    Args:
        metrics: Metrics by name; their timestamp is the current time.
        step: Step of all the metrics.
        params: Parameters by name. A value too long for MLflow is replaced by a reference to
            config.yaml.
        tags: Tags by name.
    """
    texts = {param_key(key): str(value) for key, value in (params or {}).items()}
    return {
        "kind": "values",
        "metrics": [[key, float(v), now(), step] for key, v in (metrics or {}).items()],
        "params": {
            key: text if len(text) <= _LONGEST_PARAM else "too long: see config.yaml"
            for key, text in texts.items()
        },
        "tags": dict(tags or {}),
    }


def files(paths: Iterable[Path | str], folder: str | None) -> Write:
    """Return a write that logs files as artifacts, in ``folder`` or at the top level."""
    return {"kind": "files", "paths": [str(path) for path in paths], "folder": folder}


@dataclass(frozen=True)
class DatasetInfo:
    """A data set of windows of one shape, (time, channels), with human-readable facts."""

    name: str
    digest: str
    shape: tuple[int, ...]
    facts: Mapping[str, Any]


def data_set(facts: DatasetInfo) -> Write:
    """Return a write that logs the training data set."""
    spec = {"dtype": "float32", "shape": [-1, *facts.shape]}
    features = json.dumps([{"type": "tensor", "tensor-spec": spec}])
    return {
        "kind": "data_set",
        "content": {
            "name": facts.name,
            "digest": facts.digest[:_LONGEST_DIGEST],
            "source_type": "harnest",
            "source": json.dumps({"name": facts.name, "digest": facts.digest}),
            "schema": json.dumps({"mlflow_tensorspec": {"features": features, "targets": None}}),
            "profile": json.dumps(facts.facts),
        },
    }


def model(folder: str, metrics: Mapping[str, float], step: int) -> Write:
    """Return a write that logs a saved model.

    Args:
        folder: Folder of the model, relative to the run's directory.
        metrics: Metrics that the model achieved.
        step: Step of the metrics.
    """
    scores = [[key, float(value), now(), step] for key, value in metrics.items()]
    return {"kind": "model", "folder": folder, "metrics": scores, "step": step}


def end(state: str) -> Write:
    """Return a write that ends the run now, in ``state``, one of MLflow's end states."""
    return {"kind": "end", "state": state, "time": now()}


def batches(writes: Iterable[tuple[Write, int]]) -> Iterator[tuple[list[Write], int]]:
    """Merge consecutive writes of values into requests, up to MLflow's limits.

    Args:
        writes: Each write with the offset behind it in its run log.

    Yields:
        Each request, a list of writes, with the offset behind its last write.
    """
    request: list[Write] = []
    reached = 0
    for write, position in writes:
        if request and not _fits(request, write):
            yield request, reached
            request = []
        request.append(write)
        reached = position
    if request:
        yield request, reached


def _fits(request: list[Write], write: Write) -> bool:
    if {one["kind"] for one in (*request, write)} != {"values"}:
        return False
    again = any(write["params"].keys() & one["params"].keys() for one in request)
    return not again and all(
        sum(len(one[what]) for one in (*request, write)) <= most for what, most in _MOST.items()
    )


def apply(client: "MlflowClient", run_id: str, request: list[Write], home: Path) -> None:
    """Send a request to MLflow; sending it again changes nothing.

    Args:
        client: The store.
        run_id: The run to write to.
        request: Several writes of values, or one write of another kind.
        home: Base directory of relative paths in writes of files.

    Raises:
        ValueError: The kind of write is unknown.
    """
    kind = request[0]["kind"]
    if kind == "values":
        _log_values(client, run_id, request)
        return
    (write,) = request
    if kind == "missing_params":
        known = client.get_run(run_id).data.params
        missing = {key: v for key, v in write["params"].items() if key not in known}
        _log_values(client, run_id, [{"metrics": [], "params": missing, "tags": {}}])
    elif kind == "files":
        for path in write["paths"]:
            client.log_artifact(run_id, str(home / path), write["folder"])
    elif kind == "data_set":
        _log_data_set(client, run_id, write)
    elif kind == "end":
        client.set_terminated(run_id, write["state"], write["time"])
    else:
        raise ValueError(f"unknown kind of write: {kind}")


def _log_values(client: "MlflowClient", run_id: str, request: list[Write]) -> None:
    from mlflow.entities import Metric, Param, RunTag

    metrics = [Metric(*metric) for write in request for metric in write["metrics"]]
    params = [Param(key, v) for write in request for key, v in write["params"].items()]
    tags = {key: text for write in request for key, text in write["tags"].items()}
    first = _MOST["params"]
    client.log_batch(
        run_id, metrics, params[:first], [RunTag(key, text) for key, text in tags.items()]
    )
    for start in range(first, len(params), first):
        client.log_batch(run_id, params=params[start : start + first])


def _log_data_set(client: "MlflowClient", run_id: str, write: Write) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    context = InputTag("mlflow.data.context", "training")
    client.log_inputs(run_id, [DatasetInput(Dataset(**write["content"]), [context])])


def now() -> int:
    """Return the current time in MLflow's unit, milliseconds since 1970."""
    return int(time.time() * 1000)


def param_key(key: str) -> str:
    """Return ``key`` with characters that MLflow forbids replaced by ``_``, such as ``@``."""
    return re.sub(r"[^\w./: -]", "_", key)
