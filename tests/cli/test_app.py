"""The command line's first second: help, configs, completion, and what they do not import."""

import os
import subprocess
import sys
from contextlib import contextmanager
from importlib.metadata import version

import pytest
import yaml
from omegaconf import ValidationError

from commands import command
from harnest.cli.app import errors_as_lines
from harnest.core.paths import CONFIG_DIR
from limits import HANG_TIMEOUT

HEAVY = (
    "torch",
    "pytorch_lightning",
    "mlflow",
    "optuna",
    "sklearn",
    "matplotlib",
    "pandas",
    "plotly",
)
GROUPS = {
    folder.name: {path.stem for path in folder.glob("*.yaml")}
    for folder in CONFIG_DIR.iterdir()
    if folder.is_dir() and folder.name != "hydra"
}


def test_help_names_every_group_and_choice_and_gives_three_examples(tmp_path):
    page = command("train", "--help", folder=tmp_path)
    assert page.code == 0
    assert page.err == ""
    groups = page.out.partition("Examples\n")[0]
    listed = dict(line.split(": ", 1) for line in groups.splitlines() if ": " in line)
    for group, choices in GROUPS.items():
        assert set(listed[group].split(", ")) == choices
    examples = page.out.partition("Examples\n")[2].partition("Everything that can be changed")[0]
    assert [line.split()[0] for line in examples.splitlines() if line.strip()] == 3 * [
        "harnest-train"
    ]
    assert not list(tmp_path.iterdir())


BESIDE = """
from pathlib import Path

remove = Path.rmdir

def rmdir(folder):
    (folder / "another run").mkdir()
    remove(folder)

Path.rmdir = rmdir

from harnest.cli.train import main

main()
"""


def test_a_run_that_cannot_begin_says_why_though_another_begins_beside_it(tmp_path):
    """Just as it tidies up: the folder of the day is not empty any more."""
    done = subprocess.run(
        [sys.executable, "-c", BESIDE, "folds=5"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=HANG_TIMEOUT,
    )
    (line,) = done.stderr.splitlines()
    assert (done.returncode, "folds=5" in line) == (2, True), line
    assert [path.name for path in tmp_path.glob("outputs/*/*")] == ["another run"]


def test_the_examples_of_the_help_page_compose(tmp_path):
    page = command("train", "--help", folder=tmp_path).out
    examples = page.partition("Examples\n")[2].partition("Everything that can be changed")[0]
    for line in filter(None, map(str.strip, examples.splitlines())):
        arguments = line.partition("   ")[0].replace(" -m ", " ").split()[1:]
        answer = command("train", *arguments, "--cfg", "job", folder=tmp_path)
        assert answer.code == 0, answer


def test_the_config_of_a_run_is_shown_and_can_be_read_back(tmp_path):
    shown = command(
        "train", "model.hidden_size=96", "optimizer.lr=3e-3", "--cfg", "job", folder=tmp_path
    )
    assert (shown.code, shown.err) == (0, "")
    cfg = yaml.safe_load(shown.out)
    assert cfg["model"]["hidden_size"] == 96
    assert float(cfg["optimizer"]["lr"]) == 3e-3
    assert set(cfg) >= {"data", "model", "optimizer", "scheduler", "trainer", "callbacks", "logger"}
    assert not list(tmp_path.iterdir())


def test_where_the_config_comes_from_is_shown(tmp_path):
    shown = command("train", "--info", "defaults", folder=tmp_path)
    assert (shown.code, shown.err) == (0, "")
    for choice in ("data/watch", "model/lstm", "optimizer/adamw", "logger/mlflow"):
        assert choice in shown.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--hydra-help"], 0),
        (["--version"], 0),
        (["--cfg", "job"], 0),
        (["--cfg", "job", "--resolve"], 0),
        (["--cfg", "all", "sweep=quick"], 0),
        (["--info", "defaults"], 0),
        (["--shell-completion", "install=bash"], 0),
        (["--shell-completion", "query=bash"], 0),
        (["nosuch=1"], 2),
        (["model=nosuch"], 2),
        (["model.hiden_size=3"], 2),
        (["model.hidden_size=big"], 2),
        (["data.batch_size=0"], 2),
        (["seed=[1"], 2),
        (["--nosuch"], 2),
        (["sweep=quick"], 2),
        (["resume=nowhere.ckpt"], 2),
        (["objective.metric=val/f1"], 2),
        (["hydra.run.dir=/proc/nowhere"], 2),
        (["-m", "sweep=nosuch"], 2),
        (["-m", "folds=1"], 2),
        (["-m", "model.hidden_size=a,b"], 2),
    ],
    ids=str,
)
def test_nothing_heavy_is_imported_before_a_run_begins(tmp_path, arguments, code):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "harnest.cli.train", *arguments],
        cwd=tmp_path,
        env=os.environ | {"COMP_LINE": "harnest-train model=", "COMP_POINT": "20"},
        capture_output=True,
        text=True,
        timeout=HANG_TIMEOUT,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert done.returncode == code, done
    if arguments != ["--nosuch"]:  # there argparse tells its usage as well
        assert len(done.stderr.splitlines()) - len(lines) == (1 if code else 0), done
    assert "hydra" in imported
    heavy = {name.partition(".")[0] for name in imported} & set(HEAVY)
    # Optuna takes a tenth of a second, and reads what a sweep searches.
    assert heavy <= ({"optuna"} if "-m" in arguments else set())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["evaluate", "compare", "rerun", "promote", "ui"])
def test_the_other_commands_help_imports_nothing_heavy_either(tmp_path, name):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", f"harnest.cli.{name}", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=HANG_TIMEOUT,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert done.returncode == 0, done
    assert f"usage: harnest-{name}" in done.stdout
    assert "examples: harnest-" in done.stdout
    assert not imported & set(HEAVY)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("harnest-train mod", ["model=", "model."]),
        ("harnest-train model=", ["model=lstm"]),
        ("harnest-train scheduler=co", ["scheduler=cosine"]),
        ("harnest-train model.hid", ["model.hidden_size="]),
        ("harnest-train sweep=", ["sweep=quick"]),
    ],
)
def test_the_shell_completes_groups_choices_and_keys(tmp_path, line, offered):
    answer = command(
        "train",
        "--shell-completion",
        "query=bash",
        folder=tmp_path,
        COMP_LINE=line,
        COMP_POINT=str(len(line)),
    )
    assert answer.code == 0, answer
    assert set(offered) <= set(answer.out.split())


@pytest.mark.parametrize("how", ["-v", "HYDRA_FULL_ERROR"])
def test_the_traceback_is_there_for_who_asks(tmp_path, how):
    arguments, environment = (["-v"], {}) if how == "-v" else ([], {how: "1"})
    answer = command("train", "seed=-1", *arguments, folder=tmp_path, **environment)
    assert answer.code != 0
    assert "Traceback (most recent call last)" in answer.err
    assert "seed=-1 cannot be used" in answer.err.splitlines()[-1]


@contextmanager
def left_half_way():
    """What OmegaConf raises where Ctrl-C comes in the middle of its work."""
    try:
        yield
    finally:
        raise ValidationError("'NoneType' object has no attribute '_invalidate_flags_cache'")


def test_an_error_that_an_interrupt_left_behind_is_an_interrupt(capsys):
    with pytest.raises(SystemExit) as end, errors_as_lines(), left_half_way():
        raise KeyboardInterrupt
    assert (end.value.code, capsys.readouterr().err) == (130, "interrupted\n")


@pytest.mark.parametrize(
    "name", ["train", "compare", "evaluate", "predict", "promote", "rerun", "sync", "ui"]
)
def test_each_command_has_harnests_version(name, tmp_path):
    answer = command(name, "--version", folder=tmp_path)
    assert (answer.code, answer.out) == (0, f"harnest {version('harnest')}\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [(), ("optimizer.lr=1e-3", "hydra.sweeper.n_trials=5")])
def test_a_sweep_that_searches_nothing_is_refused(arguments, tmp_path):
    answer = command("train", "-m", *arguments, folder=tmp_path)
    assert answer.line.startswith("nothing is searched: give values such as ")
    assert not list(tmp_path.iterdir())
