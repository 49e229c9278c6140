"""A trained classifier as an MLflow model that needs nothing of this project."""

import json
import shutil
import warnings
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harnest.errors import HarnestError

_CODE = Path(__file__).with_name("shipped") / "harnest_classifier.py"
_NEEDS = ("mlflow-skinny", "torch", "numpy", "pandas")
_EXAMPLE = 2  # windows
_CLOSE = 1e-4  # of two probabilities that are the same


class NotPortableError(HarnestError):
    """A network that does not compute the same once it is taken out of Python."""


def save(
    classifier: nn.Module, windows: NDArray[np.float32], facts: Mapping[str, Any], folder: Path
) -> None:
    """Write ``classifier``, which maps raw windows to logits, as an MLflow model into ``folder``.

    It is frozen then. ``windows`` (n, time, channels) are some that it can be tried with, at
    least two. ``facts`` become the model's metadata; ``activities``, ``channels``, ``steps`` and
    ``rate`` [Hz] have to be among them. Raises `NotPortableError` where the saved program does
    not give the same.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data").mkdir(parents=True)
    (folder / "code").mkdir()
    shutil.copyfile(_CODE, folder / "code" / _CODE.name)
    _save_network(classifier, windows, folder / "data" / "network.pt")
    (folder / "data" / "facts.json").write_text(json.dumps(facts))
    versions = {name: metadata.version(name).partition("+")[0] for name in _NEEDS}
    needs = "\n".join(f"{name}=={version}" for name, version in versions.items())
    (folder / "requirements.txt").write_text(f"{needs}\n")
    _save_mlmodel(windows[:_EXAMPLE], facts, folder)


def _save_network(classifier: nn.Module, windows: NDArray[np.float32], file: Path) -> None:
    """Trace it with one of the windows, and try it with the others."""

    def probabilities(x: Tensor) -> Tensor:
        logits: Tensor = classifier(x)
        return logits.softmax(dim=1)

    # A function is traced, with the weights as its constants: a LightningModule without its
    # trainer refuses to be. Not torch.export: it takes ten seconds.
    classifier.eval().requires_grad_(False)
    example, others = torch.from_numpy(windows[:1].copy()), torch.from_numpy(windows[1:].copy())
    jit: Any = torch.jit
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what tracing warns of is tried here
            jit.trace(probabilities, example, check_trace=False).save(str(file))
            off = (jit.load(file)(others) - probabilities(others)).abs().max().item()
    except Exception as error:  # whatever the network does
        reason = str(error).strip().splitlines()[-1]
        raise NotPortableError(f"the network cannot be traced: {reason}") from error
    if not off < _CLOSE:
        raise NotPortableError(f"the traced network's probabilities are off by {off:.2g}")


def _save_mlmodel(example: NDArray[np.float32], facts: Mapping[str, Any], folder: Path) -> None:
    # Not mlflow.pyfunc.save_model: it would load the model, look for what it imports and
    # serve the example, which takes longer than all the rest of a trial's record.
    import mlflow.pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.models.utils import _save_example
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.utils.environment import _PythonEnv

    inputs = Schema([TensorSpec(np.dtype(np.float32), (-1, *example.shape[1:]))])
    outputs = Schema([ColSpec(DataType.double, name) for name in facts["activities"]])
    model = Model(signature=ModelSignature(inputs, outputs), metadata=dict(facts))
    mlflow.pyfunc.add_to_model(
        model, loader_module=_CODE.stem, code="code", data="data", python_env="python_env.yaml"
    )
    environment: Any = _PythonEnv
    environment.current().to_yaml(str(folder / "python_env.yaml"))
    _save_example(model, example, str(folder))
    model.save(str(folder / "MLmodel"))
