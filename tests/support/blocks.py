"""Blocks of code in README and docs: found, read, and done as their reader would."""

import doctest
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])

#: What a fence may be called; ``text`` is only shown.
SHOWN = ("text", "mermaid")  # nothing of these is run
LANGUAGES = ("bash", "console", "python", "yaml", *SHOWN)

_MARK = re.compile(r"<!-- (not run|run in small): (.+?) -->", re.DOTALL)
_FILE = re.compile(r"(?:# @package \S+\n)?# ([\w./-]+\.(?:py|yaml))\b")
_PATIENCE = 400  # seconds that a command may take

_CHECK = doctest.OutputChecker()
_LOOSELY = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """One fence of a page; ``reason`` says why it is not run, or only in small."""

    page: Path
    line: int
    language: str
    text: str
    mark: str | None = None
    reason: str | None = None

    @property
    def name(self) -> str:
        """Where it stands."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str | None:
        """What the reader saves it as: a path in the comment that it begins with."""
        found = _FILE.match(self.text) if self.language in ("python", "yaml") else None
        return found[1] if found else None

    def steps(self) -> list[tuple[str, str]]:
        """Its commands in the shell, each with the output that the page shows; empty where none."""
        if self.language == "bash":
            return [(f"set -e\n{self.text}", "")]
        steps: list[tuple[str, str]] = []
        goes_on = False
        for line in self.text.splitlines():
            if line.startswith("$ "):
                steps.append((line[2:], ""))
            else:
                assert steps, f"{self.name}: a console begins with a command, after `$ `"
                command, output = steps[-1]
                steps[-1] = (
                    (f"{command}\n{line}", "") if goes_on else (command, f"{output}{line}\n")
                )
            goes_on = line.endswith("\\")
        return steps


def blocks_of(page: Path) -> list[Block]:
    """The page's fences, in order, each with the mark that stands before it."""
    found: list[Block] = []
    mark: tuple[str | None, str | None] = (None, None)
    for token in MarkdownIt("commonmark").parse(page.read_text()):
        if token.type == "fence":
            assert token.map is not None
            found.append(Block(page, token.map[0] + 1, token.info, token.content, *mark))
        comment = _MARK.fullmatch(token.content.strip()) if token.type == "html_block" else None
        mark = (comment[1], comment[2]) if comment else (None, None)
    return found


class Reader:
    """Somebody in a checkout who does what pages say, one after the other."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self._state = folder.parent / "state"

    def read(self, page: Path) -> Iterator[str]:
        """Do the page's blocks in order, in one shell; yields what is not as the page says."""
        self._state.write_text(f"cd '{self.folder}'\n")
        for block in blocks_of(page):
            if block.mark == "not run" or block.language in SHOWN:
                continue
            if block.file is not None:
                self._run(f"mkdir -p \"$(dirname '{block.file}')\"")
                self._run(f"cat > '{block.file}'", stdin=block.text)
            elif block.language == "python":
                code, said = self._run(f"'{sys.executable}' -", stdin=block.text)
                if code != 0:
                    yield f"{block.name}: exit code {code}\n{said}"
            elif block.language != "yaml":
                yield from self._shell(block)

    def _shell(self, block: Block) -> Iterator[str]:
        for command, output in block.steps():
            if block.mark == "run in small":
                command = command.replace("harnest-train", "harnest-train debug=limit")
            code, said = self._run(command)
            if output and not _CHECK.check_output(f"{output}", said, _LOOSELY):
                yield f"{block.name}: {command}\nsays\n{said}\nand not\n{output}"
            elif not output and code != 0:
                yield f"{block.name}: {command}\nexit code {code}\n{said}"

    def _run(self, command: str, stdin: str = "") -> tuple[int, str]:
        """One command where the last one has left off; returns its code and all that it said."""
        keep = f'trap \'{{ export -p; echo "cd \\"$PWD\\""; }} >"{self._state}"\' EXIT'
        process = subprocess.Popen(
            ["bash", "-c", f". '{self._state}'\n{keep}\n{command}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | self.environment,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(stdin, timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            said = f"{process.communicate()[0]}\nit did not end in {_PATIENCE} s"
        return process.returncode, said
