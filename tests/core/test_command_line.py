import os
import shlex
import sys
from pathlib import Path

import pytest

from harnest.core.command_line import command_for, current_command


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """A Python environment with one program, which this process pretends to run in."""
    programs = tmp_path / "my env" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "tool"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    return programs


def test_a_program_on_the_path_is_called_by_name(environment, monkeypatch):
    monkeypatch.setenv("PATH", f"{environment}:{os.environ['PATH']}")
    assert command_for("tool") == "tool"


def test_a_program_off_the_path_is_called_by_its_place(environment):
    assert shlex.split(command_for("tool")) == ["my env/bin/tool"]
    assert Path(shlex.split(command_for("tool"))[0]).is_file()


def test_another_environments_program_is_not_ours(environment, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    (other / "tool").write_text("#!/bin/sh\n")
    (other / "tool").chmod(0o755)
    monkeypatch.setenv("PATH", str(other))
    assert shlex.split(command_for("tool")) == ["my env/bin/tool"]


def test_a_program_that_is_nowhere_keeps_its_name(environment):
    assert command_for("missing") == "missing"


def test_the_command_can_be_pasted(environment, monkeypatch):
    monkeypatch.setenv("PATH", str(environment))
    arguments = ["-m", "lr=tag(log, interval(1e-4, 1e-2))", "a='b c'", "x=${y}"]
    monkeypatch.setattr(sys, "argv", [str(environment / "tool"), *arguments])
    assert shlex.split(current_command()) == ["tool", *arguments]


def test_the_command_of_a_program_off_the_path_can_be_pasted(environment, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(environment / "tool"), "-m"])
    assert Path(shlex.split(current_command())[0]).is_file()
