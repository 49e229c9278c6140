"""Passwords in addresses: redacted in output, passed on in environment variables."""

import os
import re

# A scheme is short: without a limit, a long word would be searched for one from each letter on.
# A password may hold the sign that ends it: the last one before a path is followed by the host.
_USER = re.compile(r"(\w[\w+.-]{0,40}://[^\s/:@]*:)[^\s@]+(?:@[^\s@/'\"]+)*(@)")
_QUERY = re.compile(r"([?&]\w*(?:password|passwd|pwd|token)=)[^\s&'\"]+()", re.IGNORECASE)


def redact(text: str) -> str:
    """Replace passwords in addresses by ``***``.

    Those of ``scheme://user:password@host``, and those in a query: ``?password=...``.
    """
    for secret in (_USER, _QUERY):
        text = secret.sub(r"\1***\2", text)
    return text


def move_to_environment(arguments: list[str]) -> list[str]:
    """Swap each ``KEY=ADDRESS`` whose address holds a password for a reference to it.

    Hydra writes its overrides to disk and hands them on to every trial. The address goes into
    an environment variable, which trials inherit, and the override becomes
    ``KEY=${oc.env:NAME}``.
    """
    kept: list[str] = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and redact(value) != value:
            name = f"HARNEST_SECRET_{re.sub(r'[^A-Za-z0-9]+', '_', key).strip('_').upper()}"
            os.environ[name] = value.strip("'\"")
            argument = f"{key}=${{oc.env:{name}}}"
        kept.append(argument)
    return kept
