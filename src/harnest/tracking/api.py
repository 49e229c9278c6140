"""What was recorded, from Python: the leaderboard and saved models."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harnest.tracking import leaderboard as board

if TYPE_CHECKING:
    from harnest.tracking.leaderboard import Leaderboard

_STORE = "sqlite:///mlflow.db"


def leaderboard(
    names: Sequence[str] = (), *, tracking_uri: str | None = None, experiment: str = "harnest"
) -> "Leaderboard":
    """Rank recorded trials, runs or studies, as ``harnest-compare`` does.

    Args:
        names: Studies, runs, or directories of either. One study gives its trials; several names
            give a row each; none gives all studies and runs.
        tracking_uri: The MLflow store; None: ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` here.
        experiment: MLflow's name of the group of runs.

    Raises:
        TrackingError: The store does not know a name, or cannot be used.

    Example:
        >>> leaderboard(["quick"]).dataframe()  # doctest: +SKIP
    """
    return board.leaderboard(_address(tracking_uri), experiment, [str(name) for name in names])


def load_model(name: str | Path, *, tracking_uri: str | None = None) -> Any:
    """Load a saved model as an `mlflow.pyfunc` model.

    Args:
        name: A run's directory or MLflow id, or a registered model: ``NAME``, ``NAME@ALIAS`` or
            ``NAME/VERSION``.
        tracking_uri: The MLflow store; None: ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` here.

    Raises:
        TrackingError: There is no such model.

    Example:
        >>> load_model("harnest-watch@champion").predict(windows)  # doctest: +SKIP
    """
    from harnest.tracking.registry import serving

    return serving.load_model(str(name), _address(tracking_uri))


def _address(tracking_uri: str | None) -> str:
    return tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or _STORE
