"""Where a result comes from: code, command, packages, machine."""

import getpass
import platform
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

from harnest.core.record_format import RECORD_FORMAT

_PACKAGES = (
    "harnest",
    "torch",
    "pytorch-lightning",
    "torchmetrics",
    "hydra-core",
    "optuna",
    "mlflow",
    "numpy",
)


def provenance() -> dict[str, str]:
    """Tags that say what made a run: its `source_tags` and its `environment_tags`."""
    return {**environment_tags(), **source_tags()}


def source_tags() -> dict[str, str]:
    """Where a run comes from: command, user, git commit and state.

    The git repository is the one that holds the working directory; without one its tags are
    left out. A study's trials have the study's: their code is imported when it begins.
    """
    tags = {"mlflow.source.name": Path(sys.argv[0]).name, "mlflow.source.type": "LOCAL"}
    with suppress(KeyError, OSError):  # a container may run as a user without a name
        tags["mlflow.user"] = getpass.getuser()
    commit = _git("rev-parse", "HEAD")
    if commit is not None:
        changed = (_git("status", "--porcelain", "--untracked-files=no") or "").splitlines()
        tags["mlflow.source.git.commit"] = commit
        tags["git.state"] = f"{len(changed)} files changed" if changed else "clean"
    return tags


@cache  # what is imported stays so, also in the processes that are forked from this one
def environment_tags() -> Mapping[str, str]:
    """What a process runs with: versions of Python and of packages, system, format of records."""
    return {
        "harnest.format": str(RECORD_FORMAT),
        **{f"version.{name}": metadata.version(name) for name in _PACKAGES},
        "version.python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", *arguments],  # noqa: S607
            cwd=Path.cwd(),
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
