"""MLflow pyfunc loader of a logged window classifier.

MLflow stores this file with the model. It needs torch, numpy and pandas, but not harnest.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

_AT_ONCE = 128  # windows per pass: more exceed the CPU cache and take up to twice as long


class WindowClassifier:
    """Maps raw windows to activity probabilities."""

    def __init__(self, folder: Path) -> None:
        # A TorchScript program: loading it neither unpickles objects nor runs Python code.
        jit: Any = torch.jit
        self.network = jit.load(folder / "network.pt", map_location="cpu").eval()
        self.facts: dict[str, Any] = json.loads((folder / "facts.json").read_text())

    def predict(self, windows: Any, params: Any = None) -> pd.DataFrame:
        """Return the activity probabilities of windows.

        Args:
            windows: (n, time, channels) in physical units; see ``channels`` and ``rate`` in the
                model's metadata.
            params: Unused.

        Returns:
            One row per window, one column per activity.

        Raises:
            ValueError: The windows have another shape, or contain NaN or infinite values.
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
