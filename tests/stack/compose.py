"""What docker/compose.yaml says, read as compose reads it, and translated to this machine."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker/compose.yaml"

_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?:(?P<how>:[-?])(?P<rest>[^}]*))?\})")


class MissingError(Exception):
    """A variable that has to be there is not, or is empty."""


def settings(text: str) -> dict[str, str]:
    """The variables that a file in the style of ``.env`` sets."""
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """``text`` with its variables replaced, in those of compose's ways that the file uses."""

    def value(found: re.Match[str]) -> str:
        if found["name"] is None:
            return "$"
        given = variables.get(found["name"], "")
        if given or found["how"] is None:
            return given
        if found["how"] == ":?":
            raise MissingError(f"{found['name']}: {found['rest']}")
        return found["rest"]

    return _VARIABLE.sub(value, text)


def stack(variables: Mapping[str, str]) -> dict[str, Any]:
    """The whole file, interpolated."""

    def inside(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: inside(value) for key, value in node.items()}
        if isinstance(node, list):
            return [inside(value) for value in node]
        return interpolated(node, variables) if isinstance(node, str) else node

    return inside(raw())


def raw() -> dict[str, Any]:
    """The whole file as it stands."""
    return yaml.safe_load(FILE.read_text())
