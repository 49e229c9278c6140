"""Paths that several packages use, and the removal of unused run directories."""

import shutil
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

_INSTALLED = Path(__file__).parents[1] / "conf"

#: The folder of configs: part of an installed package, or the checkout's own.
CONFIG_DIR = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[3] / "conf"

#: The checkpoint of a run's best epoch, in the run's directory.
BEST_CHECKPOINT = "checkpoints/best.ckpt"


def remove_if_unused(directory: Path) -> None:
    """Remove a run's directory that holds nothing but what Hydra wrote before the run began."""
    running = HydraConfig.get()
    home = Path(running.runtime.cwd)
    own = (".hydra", f"{running.job.name}.log")
    if home.is_relative_to(directory) or any(path.name not in own for path in directory.iterdir()):
        return
    shutil.rmtree(directory)
    for parent in directory.parents:
        if home not in parent.parents:
            return
        try:
            parent.rmdir()
        except OSError:  # it holds something: another run's, which may have begun just now
            return
