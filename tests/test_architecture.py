"""The page on the architecture, held against the code."""

import ast
import re
import tomllib

import pytest

from blocks import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
PACKAGE = ROOT / "src" / "harnest"
LINTER = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]


def imports():
    """The pairs of packages of which the first imports the second."""
    found = set()
    for file in PACKAGE.glob("*/**/*.py"):
        own = file.relative_to(PACKAGE).parts[0]
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                parts = name.split(".")
                if parts[0] == "harnest" and len(parts) > 1 and parts[1] != own:
                    found.add((own, parts[1]))
    return found


def test_the_picture_has_every_arrow_that_there_is():
    assert set(re.findall(r"^    (\w+) --> (\w+)$", PAGE, re.MULTILINE)) == imports()


def test_the_layers_are_those_of_the_linter_and_all_packages():
    table = PAGE.partition("## The house")[2].partition("\n\nImports")[0]
    named = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert named == LINTER["contracts"][0]["layers"]
    assert sorted(named) == sorted(one.parent.name for one in PACKAGE.glob("*/__init__.py"))


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:\w+/)+(?:\w+\.py)?)[`\s]", PAGE))))
def test_what_it_names_is_there(path):
    roots = (ROOT, PACKAGE)
    assert any((root / path).exists() for root in roots), path


def test_functions_of_a_trials_life_are_there():
    rows = re.findall(r"^\| \w+ \| `([\w/]+\.py)` `(\w+)` \|", PAGE, re.MULTILINE)
    assert len(rows) >= 6
    for file, function in rows:
        assert f"def {function}(" in (PACKAGE / file).read_text(), (file, function)
