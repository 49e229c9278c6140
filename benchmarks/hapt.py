"""Where HAPT's archive is: the environment variable HAPT, as ``make bench HAPT=FILE`` sets it."""

import os
from pathlib import Path


def archive() -> Path | None:
    """The data set's zip file, or None where nobody named one."""
    named = os.environ.get("HAPT")
    return Path(named).absolute() if named else None
