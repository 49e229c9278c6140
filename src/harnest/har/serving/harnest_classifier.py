"""Loads and runs an exported classifier of windows.

MLflow keeps this file with the model. It needs torch, numpy and pandas, and nothing of harnest.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

_AT_ONCE = 128  # windows in one pass: more leave the cache, and take up to twice as long


class WindowClassifier:
    """Raw windows in, activity probabilities out."""

    def __init__(self, folder: Path) -> None:
        # A TorchScript program: to load it unpickles nothing and runs no code of the file's.
        jit: Any = torch.jit
        self.network = jit.load(folder / "network.pt", map_location="cpu").eval()
        self.facts: dict[str, Any] = json.loads((folder / "facts.json").read_text())

    def predict(self, windows: Any, params: Any = None) -> pd.DataFrame:
        """Probabilities, one column for each activity, of windows (n, time, channels).

        The windows are in physical units: see ``channels`` and ``rate`` in the model's metadata.
        """
        shape = (self.facts["steps"], len(self.facts["channels"]))
        x = np.asarray(windows, np.float32)
        if x.ndim != 3 or x.shape[1:] != shape:
            raise ValueError(
                f"windows of shape {x.shape}; this model takes (n, {shape[0]}, {shape[1]})"
            )
        if not np.isfinite(x).all():
            raise ValueError("the windows hold NaN or infinite values")
        with torch.inference_mode():
            parts = [self.network(part) for part in torch.split(torch.from_numpy(x), _AT_ONCE)]
        columns = self.facts["activities"]
        return pd.DataFrame(torch.cat(parts).double().numpy(), columns=columns)


def _load_pyfunc(path: str) -> WindowClassifier:
    return WindowClassifier(Path(path))
