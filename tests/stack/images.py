"""What docker/Dockerfile puts into an image, done in a folder of this machine."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from compose import ROOT

FILE = ROOT / "docker/Dockerfile"


def instructions(text: str) -> list[list[str]]:
    """The words of each instruction; comments and line breaks are gone."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ")
    return [shlex.split(line) for line in whole.splitlines() if line.strip()]


def stages() -> dict[str, tuple[str, list[list[str]]]]:
    """By each stage's name: what it starts from, and its instructions."""
    found: dict[str, tuple[str, list[list[str]]]] = {}
    for words in instructions(FILE.read_text()):
        if words[0] == "FROM":
            assert words[2] == "AS", words
            body: list[list[str]] = []
            found[words[3]] = (words[1], body)
        else:
            body.append(words)
    return found


def steps(stage: str) -> list[list[str]]:
    """What an image is made by, from its first stage on: copies and installations."""
    every = stages()
    before, own = every[stage]
    done = steps(before) if before in every else []
    for words in own:
        if words[0] == "COPY" and words[1].startswith("--from="):
            done += steps(words[1].removeprefix("--from="))
        elif words[0] == "COPY":
            done.append([word for word in words if not word.startswith("--chmod=")])
        elif words[:3] == ["RUN", "pip", "install"]:
            done.append(words)
    return done


def build(stage: str, folder: Path) -> None:
    """Do so in ``folder``, with a virtual environment ``venv`` in it.

    What is copied goes to ``source`` there, or below ``root`` where its place is absolute.
    Where torch comes from, and what is downloaded at all, is left to this machine's pip.
    """
    source = folder / "source"
    source.mkdir(parents=True)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    programs = folder / "venv/bin"
    for words in steps(stage):
        if words[0] == "COPY":
            place = words[-1]
            is_absolute = place.startswith("/")
            _copy(words[1:-1], folder / "root" / place[1:] if is_absolute else source / place)
        else:
            _install(programs, words[3:], source)


def _copy(names: list[str], target: Path) -> None:
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)


def _install(programs: Path, arguments: list[str], source: Path) -> None:
    kept = [word for word in arguments if word != "--no-cache-dir"]
    if "--index-url" in kept:
        at = kept.index("--index-url")
        del kept[at : at + 2]
    quick = {"PIP_NO_COMPILE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}  # most is never imported
    done = subprocess.run(
        [programs / "pip", "install", "--quiet", *kept],
        cwd=source,
        env=os.environ | quick,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
