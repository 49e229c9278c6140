"""Errors of Hydra, OmegaConf and the file system, in one line that says what to do."""

import re
import traceback

from hydra.errors import CompactHydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from harnest.core.errors import HarnestError
from harnest.core.suggestions import all_keys, did_you_mean, group_choices


def one_line(error: Exception) -> str | None:
    """The message for the user, or None if the user cannot fix the error."""
    if isinstance(error, HarnestError):
        return str(error)
    if isinstance(error, MissingConfigException):
        return _unknown_choice(error)
    if isinstance(error, CompactHydraException):
        unknown = re.search(r"Could not (?:override|delete|append to config) '([^']+)'", str(error))
        if unknown:
            return _unknown_key(unknown[1])
        if error.__cause__ is not None and isinstance(error.__cause__, OmegaConfBaseException):
            return _flat(f"{error}: {error.__cause__}")
        return _flat(str(error))
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        first = str(error.msg).splitlines()[0]
        return f"{error.full_key}: {first}; --cfg job shows the whole config"
    if isinstance(error, OmegaConfBaseException | YAMLError) or _raised_by_hydra(error):
        is_null = str(error).endswith("Got NoneType")
        hint = "; to choose nothing of a group, leave it out or give none" if is_null else ""
        return f"{_flat(str(error))}{hint}"
    if isinstance(error, OSError) and error.filename is not None:
        return file_error(error)
    return None


def file_error(error: OSError) -> str:
    """The file, and what is wrong with it."""
    return f"{error.filename}: {error.strerror}"


def _raised_by_hydra(error: Exception) -> bool:
    """Whether Hydra does not take a flag, a choice or a file: those errors have no class."""
    frame = list(traceback.walk_tb(error.__traceback__))[-1][0]
    return str(frame.f_globals.get("__name__")).startswith("hydra._internal.")


def _flat(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


def _unknown_choice(error: MissingConfigException) -> str:
    missing = error.missing_cfg_file or str(error)
    group, _, choice = missing.rpartition("/")
    if not group:
        return _flat(str(error).split("Config search path")[0])
    options = [str(option) for option in error.options or group_choices(group)]
    near = did_you_mean(choice, options)
    return (
        f"{group}={choice}: there is no such choice{near}; there is {', '.join(options) or 'none'}"
    )


def _unknown_key(key: str) -> str:
    near = did_you_mean(key, all_keys())
    return f"{key}: there is no such key{near}; --cfg job shows all, +{key}=... adds one"
