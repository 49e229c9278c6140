"""Tags that record a run's origin: code, command, packages, machine."""

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
    """Return all tags of a run's origin: `source_tags` and `environment_tags`."""
    return {**environment_tags(), **source_tags()}


def source_tags() -> dict[str, str]:
    """Return tags for the command, the user, and the git commit and state.

    The git repository is the one that holds the working directory; without one its tags are
    omitted. Trials get their study's tags, because their code is imported when the study starts.
    """
    tags = {"mlflow.source.name": Path(sys.argv[0]).name, "mlflow.source.type": "LOCAL"}
    with suppress(KeyError, OSError):  # in a container the user may have no name
        tags["mlflow.user"] = getpass.getuser()
    commit = _git("rev-parse", "HEAD")
    if commit is not None:
        changed = (_git("status", "--porcelain", "--untracked-files=no") or "").splitlines()
        tags["mlflow.source.git.commit"] = commit
        tags["git.state"] = f"{len(changed)} files changed" if changed else "clean"
    return tags


@cache  # imported packages do not change, and forked processes inherit the result
def environment_tags() -> Mapping[str, str]:
    """Return tags for the versions of Python and packages, the system and the record format."""
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
