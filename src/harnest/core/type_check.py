"""Checks that an override has the type of the default that it replaces."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from harnest.core.errors import ConfigError

#: Keys whose value may have another type than the default that it replaces.
MIXED = ("data.test", "data.validation", "trainer.devices")

_KINDS = {bool: "true or false", int: "a whole number", float: "a number"}


def check_type(key: str, value: Any, reference: DictConfig) -> None:
    """Raise `ConfigError` where a number or a flag would be replaced by something else.

    ``reference`` holds the defaults. Lists, groups, words and null may be replaced by anything:
    what they mean is for their readers to say.
    """
    default = OmegaConf.select(reference, key)
    kind = type(default)
    if value is None or key in MIXED or kind not in _KINDS or type(value) is kind:
        return
    if kind is float and type(value) is int:
        return
    raise ConfigError(
        f"{key}={value} cannot be used: it must be {_KINDS[kind]}, as its default {default} is"
    )
