"""README and docs: every block can be read, every link leads somewhere, every command is run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from markdown_it import MarkdownIt

from blocks import LANGUAGES, PAGES, ROOT, SHOWN, Reader, blocks_of
from harnest.core.paths import CONFIG_DIR

BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_a_block_can_be_read(block, tmp_path):
    assert block.language in LANGUAGES, f"{block.name}: a fence is one of {', '.join(LANGUAGES)}"
    if block.language == "python":
        compile(block.text, block.name, "exec")
    elif block.language == "yaml" and block.file is not None:
        assert yaml.safe_load(block.text)
    elif block.language == "yaml":
        compose(block.text, tmp_path)
    elif block.language not in SHOWN:
        for command, _ in block.steps():
            subprocess.run(["bash", "-n", "-c", command], check=True)
    if block.mark == "not run":
        pytest.skip(block.reason)


def compose(text, folder):
    """Compose the whole config with ``text`` as somebody's file in ``conf/sweep/``."""
    (folder / "sweep").mkdir()
    (folder / "sweep" / "block.yaml").write_text(f"# @package _global_\n{text}")
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIG_DIR)):
        path = f"hydra.searchpath=['file://{folder}']"
        cfg = hydra.compose("train", [path, "sweep=block"], return_hydra_config=True)
    assert cfg.hydra.sweeper.study is None or cfg.hydra.sweeper.study


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for token in MarkdownIt("commonmark").enable("link").parse(page.read_text()):
        for child in token.children or ():
            target = child.attrGet("href") or child.attrGet("src")
            if target is None or re.match("https?://", target):
                continue
            name, _, anchor = target.partition("#")
            file = page.parent / name if name else page
            assert file.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(file), f"{page.name}: {target}"


def anchors(page):
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """Somebody who has been through the README, in a checkout of their own."""
    folder = tmp_path_factory.mktemp("reader") / "harnest"
    left_out = shutil.ignore_patterns(".*", "__pycache__", "outputs", "multirun", "mlruns", "*.db*")
    shutil.copytree(ROOT, folder, ignore=left_out)
    programs = str(Path(sys.executable).parent)
    path = os.pathsep.join([programs, os.environ["PATH"]])
    somebody = Reader(folder, {"PATH": path, "COLUMNS": "200"})
    assert list(somebody.read(ROOT / "README.md")) == []
    return somebody


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.xdist_group("docs")
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.parent != ROOT], ids=lambda page: page.name
)
def test_a_page_does_what_it_says(page, reader):
    assert "\n\n".join(reader.read(page)) == ""
