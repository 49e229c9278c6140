"""Suggestions for misspelled config keys and choices."""

import difflib
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from harnest.core.paths import CONFIG_DIR

_CHOICE = re.compile(r"[\w/@]+=[\w,\[\]]+")


def did_you_mean(name: str, valid: list[str]) -> str:
    """Ask whether a name of the same parent was meant, or else the same word elsewhere."""
    parent, _, word = name.rpartition(".")
    words = {key: key.rpartition(".")[2] for key in valid}
    beside = {key: last for key, last in words.items() if key.rpartition(".")[0] == parent}
    for among in (beside, words):
        close = difflib.get_close_matches(word, among.values(), n=1)
        near = [key for key, last in among.items() if last in close][:2]
        if near:
            return f"; did you mean {' or '.join(near)}?"
    return ""


def group_choices(group: str) -> list[str]:
    """The choices of a config group, which Hydra's error omits for a list of choices."""
    folders = [CONFIG_DIR, *_user_config_dir()]
    return sorted({file.stem for folder in folders for file in (folder / group).glob("*.yaml")})


def all_keys() -> list[str]:
    """Every key and group of the root config, with the command line's own choices of groups."""
    chosen = [argument for argument in sys.argv[1:] if _CHOICE.fullmatch(argument)]
    path = [f"hydra.searchpath=['file://{folder}']" for folder in _user_config_dir()]
    cfg = DictConfig({})
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIG_DIR)):
        for overrides in ([], chosen):  # the second may be what is wrong
            with suppress(HydraException):
                cfg = hydra.compose("train", [*path, *overrides])
    return list(_walk(cfg, ""))


def _walk(node: DictConfig, prefix: str) -> Iterator[str]:
    for name in map(str, node):
        yield f"{prefix}{name}"
        if not OmegaConf.is_interpolation(node, name) and isinstance(node[name], DictConfig):
            yield from _walk(node[name], f"{prefix}{name}.")


def _user_config_dir() -> list[Path]:
    """The user's own folder of configs, as Hydra's flag ``--config-dir`` gives it."""
    given = [argument.partition("=") for argument in sys.argv[1:]]
    for index, (flag, equals, value) in enumerate(given):
        if flag in ("--config-dir", "-cd"):
            return [Path(value if equals else "".join(given[index + 1])).absolute()]
    return []
