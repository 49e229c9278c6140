"""The wheel: it holds the configs, and works without a checkout."""

import contextlib
import os
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from harnest.core.paths import CONFIG_DIR
from limits import HANG_TIMEOUT

ROOT = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.xdist_group("packaging"),
    pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="no checkout"),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from the checkout with what is installed here, without a download."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    done = subprocess.run(build, capture_output=True, text=True, timeout=HANG_TIMEOUT)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_holds_code_configs_and_licence(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {
        f"harnest/conf/{path.relative_to(CONFIG_DIR)}" for path in CONFIG_DIR.rglob("*.yaml")
    }
    sources = [path for kind in ("py", "j2", "typed") for path in ROOT.glob(f"src/**/*.{kind}")]
    modules = {f"harnest/{path.relative_to(ROOT / 'src/harnest')}" for path in sources}
    assert configs | modules <= names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    rest = names - configs - modules
    assert all(".dist-info/" in name for name in rest), rest


def test_the_wheel_names_its_commands_and_plugins(unpacked):
    (points,) = unpacked.glob("*.dist-info/entry_points.txt")
    text = points.read_text()
    names = ("train", "evaluate", "compare", "predict", "sync", "rerun", "promote", "ui")
    for name in names:
        assert f"harnest-{name} = harnest.cli.{name}:main" in text
    assert "[hydra.plugins]" in text


def answer_of(unpacked, folder, *arguments):
    """Run the unpacked wheel in ``folder``: no checkout is on the path."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        timeout=HANG_TIMEOUT,
    )


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_every_pin_installs_on_the_oldest_python_that_is_supported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = project["requires-python"].removeprefix(">=") + ".0"
    checked = 0
    for name, version in pins().items():
        with contextlib.suppress(PackageNotFoundError):
            metadata = distribution(name).metadata
            supported = metadata.get("Requires-Python")
            if metadata["Version"] == version and supported:
                checked += 1
                assert SpecifierSet(supported).contains(oldest), name
    assert checked > 100


def test_linting_needs_no_test_notebook_or_launcher():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert {Requirement(one).name for one in extras["lint"]} == {
        "ruff",
        "mypy",
        "import-linter",
        "submitit",
    }


def test_it_works_from_any_directory(unpacked, tmp_path):
    shown = answer_of(unpacked, tmp_path, "harnest.cli.train", "--cfg", "job")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert yaml.safe_load(shown.stdout)["model"]["_target_"] == "harnest.har.networks.lstm.LSTM"
    origin = "import harnest.core.paths; print(harnest.core.paths.CONFIG_DIR)"
    where = subprocess.run(
        [sys.executable, "-c", origin],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
    )
    assert where.stdout.strip() == str(unpacked / "harnest/conf")


@pytest.mark.slow
def test_it_trains_from_any_directory(unpacked, tmp_path):
    arguments = ("debug=fast", "trainer=cpu", "model.hidden_size=4")
    trained = answer_of(unpacked, tmp_path, "harnest.cli.train", *arguments)
    assert trained.returncode == 0, trained
    assert str(tmp_path / "outputs") in trained.stderr
