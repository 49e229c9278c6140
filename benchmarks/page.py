"""Tables between marks in a page; what is written by hand around them stays."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path


def put(page: Path, name: str, lines: Sequence[str]) -> None:
    """Put ``lines`` between the two marks of ``name`` in ``page``."""
    begin, end = f"<!-- measured: {name} -->", "<!-- end -->"
    body = "\n".join((begin, *lines, end))
    pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
    text, count = re.subn(pattern, lambda _: body, page.read_text(), count=1, flags=re.DOTALL)
    if not count:
        sys.exit(f"{page} has no line {begin}: put it where the table belongs, and {end} below")
    page.write_text(text)
