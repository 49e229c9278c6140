"""How to call this environment's programs from the current shell."""

import os
import shlex
import shutil
import sys
from pathlib import Path


def command_for(name: str) -> str:
    """How to call ``name`` in this shell: by name, or by its path beside this interpreter."""
    beside = Path(sys.executable).parent / name
    found = shutil.which(name)
    if found is not None and Path(found).parent == beside.parent:
        return name
    return shlex.quote(os.path.relpath(beside)) if beside.exists() else name


def current_command() -> str:
    """The command line of this process, ready to be pasted."""
    started = Path(sys.argv[0])
    if started.suffix == ".py":  # another project's script
        called = f"{command_for('python')} {shlex.quote(sys.argv[0])}"
    else:
        called = command_for(started.name)
    return f"{called} {shlex.join(sys.argv[1:])}".rstrip()
