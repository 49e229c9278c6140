"""Exports a trained classifier as an MLflow model that does not need harnest."""

import json
import platform
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

from harnest.core.errors import HarnestError
from harnest.tracking.outbox.logged_model import EXAMPLE

_NEEDS = ("mlflow-skinny", "torch", "numpy", "pandas")
_SHOWN = 2  # windows
_CLOSE = 1e-4  # of two probabilities that are the same


class NotPortableError(HarnestError):
    """A network that does not compute the same once it is taken out of Python."""


def save(
    classifier: nn.Module,
    windows: NDArray[np.float32],
    facts: Mapping[str, Any],
    loader: Path,
    folder: Path,
) -> None:
    """Save a trained classifier, from which `tracking.outbox.logged_model` makes an MLflow model.

    Args:
        classifier: Maps raw windows to logits. It is frozen afterwards.
        windows: At least two windows that it is tried with, (n, time, channels).
        facts: The model's metadata: ``activities``, ``channels``, ``steps``, ``rate`` [Hz], and
            more where wanted.
        loader: The file of the module that loads the model where harnest is not installed.
        folder: Where it is saved; an earlier one is replaced.

    Raises:
        NotPortableError: The saved program does not compute the same.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data").mkdir(parents=True)
    (folder / "code").mkdir()
    shutil.copyfile(loader, folder / "code" / loader.name)
    _save_network(classifier, windows, folder / "data" / "network.pt")
    (folder / "data" / "facts.json").write_text(json.dumps(facts))
    versions = {name: metadata.version(name).partition("+")[0] for name in _NEEDS}
    needs = "\n".join(f"{name}=={version}" for name, version in versions.items())
    (folder / "requirements.txt").write_text(f"{needs}\n")
    (folder / "python_env.yaml").write_text(
        f"python: {platform.python_version()}\n"
        "build_dependencies: [pip]\n"
        "dependencies: [-r requirements.txt]\n"
    )
    new = folder / f"new.{EXAMPLE}"
    np.save(new, windows[:_SHOWN])
    new.replace(folder / EXAMPLE)  # the last: where it is, all is saved


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
