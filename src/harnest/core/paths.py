"""Where harnest keeps its own files, and where a run keeps what others look for."""

from pathlib import Path

_INSTALLED = Path(__file__).parents[1] / "conf"

#: The folder of configs: part of an installed package, or the checkout's own.
CONFIG_DIR = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[3] / "conf"
