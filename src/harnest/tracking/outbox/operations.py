"""What can be written to a run, as plain data that can wait in a file, and how MLflow takes it."""

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: One write: its ``kind``, and what that kind needs.
Write = dict[str, Any]

_LONGEST_PARAM = 6000  # characters that MLflow takes
_LONGEST_DIGEST = 36  # of a data set's
_MOST = {"metrics": 1000, "params": 100, "tags": 100}  # that it takes in one request


def values(
    *,
    metrics: Mapping[str, float] | None = None,
    step: int = 0,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> Write:
    """Metrics of one step, parameters and tags; the time of the metrics is now.

    A parameter too long for MLflow says where it stands in full.
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
    """Files that become artifacts, in ``folder`` of the run's or at their top."""
    return {"kind": "files", "paths": [str(path) for path in paths], "folder": folder}


@dataclass(frozen=True)
class DatasetInfo:
    """A data set of windows of one shape, (time, channels), with facts for people to read."""

    name: str
    digest: str
    shape: tuple[int, ...]
    facts: Mapping[str, Any]


def data_set(facts: DatasetInfo) -> Write:
    """What a run was trained on."""
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
    """A model that was saved in ``folder`` of the run's directory, and what it reached."""
    scores = [[key, float(value), now(), step] for key, value in metrics.items()]
    return {"kind": "model", "folder": folder, "metrics": scores, "step": step}


def end(state: str) -> Write:
    """The run's end, now, in one of MLflow's states."""
    return {"kind": "end", "state": state, "time": now()}


def merged(writes: Iterable[tuple[Write, int]]) -> Iterator[tuple[list[Write], int]]:
    """Put values that follow each other into one request, as many as MLflow takes.

    Each write comes with a position behind it in its journal, and so does each request.
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


def deliver(client: "MlflowClient", run_id: str, request: list[Write], home: Path) -> None:
    """Hand writes over to MLflow; doing so again changes nothing. ``home``: of relative paths."""
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
        raise ValueError(f"{kind} is no kind of write")


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
    """The time as MLflow counts it: milliseconds since 1970."""
    return int(time.time() * 1000)


def param_key(key: str) -> str:
    """``key`` as MLflow takes it: ``model@encoder`` becomes ``model_encoder``."""
    return re.sub(r"[^\w./: -]", "_", key)
