"""Passwords in addresses: kept out of everything that is shown or written."""

import os
import re

_ADDRESS = re.compile(r"(?P<before>\w[\w+.-]*://[^\s/:@]*:)(?P<password>[^\s@]+)(?P<after>@)")


def redact(text: str) -> str:
    """Replace the password of every ``scheme://user:password@host`` in ``text`` by ``***``."""
    return _ADDRESS.sub(r"\g<before>***\g<after>", text)


def move_to_environment(arguments: list[str]) -> list[str]:
    """Swap each ``KEY=ADDRESS`` whose address holds a password for a reference to it.

    Hydra writes its overrides to disk and hands them on to every trial. The address goes into
    an environment variable, which trials inherit, and the override becomes
    ``KEY=${oc.env:NAME}``.
    """
    kept = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and _ADDRESS.search(value):
            name = f"HARNEST_SECRET_{re.sub(r'[^A-Za-z0-9]+', '_', key).strip('_').upper()}"
            os.environ[name] = value.strip("'\"")
            argument = f"{key}=${{oc.env:{name}}}"
        kept.append(argument)
    return kept
