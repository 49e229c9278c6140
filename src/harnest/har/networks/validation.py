"""Validation of the networks' options."""

from harnest.core.errors import ConfigError


def check_positive(**counts: int) -> None:
    """Raise `ConfigError` for the first of the named ``counts`` that is below 1."""
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(f"{name}={count} cannot be used: it must be at least 1")
