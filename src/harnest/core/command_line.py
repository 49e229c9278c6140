"""The names by which this environment's programs can be called from here."""

import os
import shlex
import shutil
import sys
from pathlib import Path


def program(name: str) -> str:
    """How to call ``name`` in this shell: by name, or by its path beside this interpreter."""
    beside = Path(sys.executable).parent / name
    found = shutil.which(name)
    if found is not None and Path(found).parent == beside.parent:
        return name
    return shlex.quote(os.path.relpath(beside)) if beside.exists() else name


def this_command() -> str:
    """The command line of this process, ready to be pasted."""
    started = Path(sys.argv[0])
    if started.suffix == ".py":  # a script of somebody's
        called = f"{program('python')} {shlex.quote(sys.argv[0])}"
    else:
        called = program(started.name)
    return f"{called} {shlex.join(sys.argv[1:])}".rstrip()
