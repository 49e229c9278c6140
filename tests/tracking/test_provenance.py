import platform
import subprocess

import torch

from harnest.tracking.provenance import provenance


def git(*arguments, folder):
    subprocess.run(
        ["git", "-c", "user.name=me", "-c", "user.email=me@example.org", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
    )


def test_packages_and_machine_are_told_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tags = provenance()
    assert tags["version.torch"] == torch.__version__
    assert tags["version.python"] == platform.python_version()
    assert {"version.harnest", "version.mlflow", "version.optuna", "system"} <= set(tags)


def test_outside_of_a_repository_git_is_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert not [key for key in provenance() if "git" in key]


def test_inside_of_one_commit_and_state_are_told(tmp_path, monkeypatch):
    git("init", "-q", folder=tmp_path)
    (tmp_path / "code.py").write_text("1")
    (tmp_path / "more.py").write_text("1")
    git("add", ".", folder=tmp_path)
    git("commit", "-qm", "one", folder=tmp_path)
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout.strip()
    assert provenance()["mlflow.source.git.commit"] == head
    assert provenance()["git.state"] == "clean"
    (tmp_path / "code.py").write_text("2")
    (tmp_path / "more.py").write_text("2")
    (tmp_path / "untracked.txt").write_text("results")
    assert provenance()["git.state"] == "2 files changed"


def test_without_git_nothing_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "version.torch" in provenance()
    assert "git.state" not in provenance()


def test_a_repository_without_a_commit(tmp_path, monkeypatch):
    git("init", "-q", folder=tmp_path)
    monkeypatch.chdir(tmp_path)
    assert "mlflow.source.git.commit" not in provenance()
