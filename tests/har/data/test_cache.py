import json
import os
import subprocess
import sys
from mmap import mmap
from pathlib import Path

import numpy as np
import pytest

from harnest.core.errors import DataError
from harnest.har.data import cache
from harnest.har.data.cache import Entry, cache_folder, load, load_or_build

DIGEST = "d" * 64


def entry():
    return Entry(
        {"big": np.arange(6000, dtype=np.float32).reshape(10, 100, 6), "one": np.arange(10)},
        {"rate": 50.0, "names": ["a", "b"]},
    )


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "prepared" / "made-dddd"


def never():
    raise AssertionError("built although it was there")


def leftovers(folder):
    return sorted(path.name for path in folder.parent.glob(".*.tmp"))


def assert_right(found):
    assert found is not None
    for name, array in entry().arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype
    assert found.meta == entry().meta


def test_an_entry_is_built_once_and_read_back(folder):
    assert load(folder, DIGEST) is None
    assert_right(load_or_build(folder, DIGEST, entry))
    assert_right(load_or_build(folder, DIGEST, never))
    assert_right(load(folder, DIGEST))
    assert leftovers(folder) == []


def test_arrays_are_mapped_and_changes_stay_private(folder):
    array = load_or_build(folder, DIGEST, entry).arrays["big"]
    assert isinstance(array.base, mmap)
    assert array.flags.writeable
    array[:] = -1
    assert_right(load(folder, DIGEST))


def test_an_array_that_lies_by_columns_is_read_back_too(folder):
    turned = np.arange(6.0).reshape(3, 2).T
    entry = load_or_build(folder, DIGEST, lambda: Entry({"turned": turned}, {}))
    np.testing.assert_array_equal(entry.arrays["turned"], turned)


def test_a_whole_entry_is_opened_without_lock_or_writing(folder, monkeypatch):
    load_or_build(folder, DIGEST, entry)
    monkeypatch.setattr(cache, "_locked", never)
    before = sorted(folder.parent.iterdir())
    assert_right(load_or_build(folder, DIGEST, never))
    assert sorted(folder.parent.iterdir()) == before


def _cut(path):
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - 1)


def _meta(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


DAMAGE = {
    "array cut short": lambda folder: _cut(folder / "big.npy"),
    "array too long": lambda folder: (folder / "big.npy").open("ab").write(b"x"),
    "array empty": lambda folder: (folder / "one.npy").write_bytes(b""),
    "array missing": lambda folder: (folder / "one.npy").unlink(),
    "array of another shape": lambda folder: np.save(folder / "one.npy", np.arange(11)),
    "array of another type": lambda folder: np.save(folder / "one.npy", np.arange(10.0)),
    "array of garbage": lambda folder: (folder / "one.npy").write_bytes(b"\xff" * 500),
    "array of objects": lambda folder: np.save(folder / "one.npy", np.array([{}] * 10)),
    "meta missing": lambda folder: (folder / "meta.json").unlink(),
    "meta cut short": lambda folder: _cut(folder / "meta.json"),
    "meta of garbage": lambda folder: (folder / "meta.json").write_bytes(b"\xff\x00garbage"),
    "meta of another kind": lambda folder: (folder / "meta.json").write_text("[1, 2]"),
    "meta without arrays": lambda folder: _meta(folder / "meta.json", arrays=None),
    "meta of another digest": lambda folder: _meta(folder / "meta.json", digest="e" * 64),
    "meta without facts": lambda folder: _meta(folder / "meta.json", meta=None),
    "everything missing": lambda folder: [path.unlink() for path in folder.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_entry_is_found_and_built_anew(folder, damage):
    load_or_build(folder, DIGEST, entry)
    damage(folder)
    assert load(folder, DIGEST) is None
    assert_right(load_or_build(folder, DIGEST, entry))
    assert_right(load_or_build(folder, DIGEST, never))
    assert leftovers(folder) == []


def test_who_still_reads_a_damaged_entry_keeps_its_pages(folder):
    array = load_or_build(folder, DIGEST, entry).arrays["big"]
    (folder / "meta.json").unlink()
    load_or_build(folder, DIGEST, entry)
    np.testing.assert_array_equal(array, entry().arrays["big"])


def test_a_build_that_fails_leaves_nothing(folder):
    with pytest.raises(AssertionError):
        load_or_build(folder, DIGEST, never)
    assert not folder.exists()
    assert leftovers(folder) == []
    assert_right(load_or_build(folder, DIGEST, entry))


def test_a_full_disk_leaves_nothing_and_is_explained(folder, monkeypatch):
    save = np.save

    def full(file, array, **options):
        save(file, array[:1], **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(DataError, match=r"No space left on device.*data\.cache=PATH"):
        load_or_build(folder, DIGEST, entry)
    assert not folder.exists()
    assert leftovers(folder) == []


def test_a_folder_that_cannot_be_made_is_named_with_the_option(tmp_path):
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "prepared" / "made"
    with pytest.raises(DataError, match=r"file/prepared: cannot store .*data\.cache=") as caught:
        load_or_build(folder, DIGEST, entry)
    assert "\n" not in str(caught.value)


def test_a_folder_without_permission_is_named_with_the_option(folder):
    folder.parent.mkdir()
    folder.parent.chmod(0o500)
    root = os.geteuid() == 0
    if root:  # who may do anything must become somebody to be refused
        os.seteuid(65534)
    try:
        with pytest.raises(DataError, match=r"Permission denied.*data\.cache=PATH"):
            load_or_build(folder, DIGEST, entry)
    finally:
        if root:
            os.seteuid(0)


BUILDER = """
import os, sys, time
from pathlib import Path
import numpy as np
from harnest.har.data import cache

folder, mark, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
arrays = {"big": np.arange(6000, dtype=np.float32).reshape(10, 100, 6), "one": np.arange(10)}
entry = cache.Entry(arrays, {"rate": 50.0, "names": ["a", "b"]})

def stop(*_):
    mark.touch()
    time.sleep(60)

def build():
    with open(mark.with_name("builds"), "a") as file:
        file.write("x")
    time.sleep(0.5)
    return entry

if how == "writing":  # the first array is half on the disk
    def save(file, array, **options):
        file.write(array.tobytes()[:3000])
        file.flush()
        stop()
    np.save = save
elif how == "renaming":  # all is written, under the temporary name
    Path.rename = stop
found = cache.load_or_build(folder, "d" * 64, build)
print(f"{found.arrays['big'].sum():.0f}", found.meta["rate"])
"""


def start(folder, mark, how):
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(folder), str(mark), how],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("how", ["writing", "renaming"])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_builder_killed_in_the_middle_is_cleaned_up_after(folder, tmp_path, how, damaged):
    if damaged:
        load_or_build(folder, DIGEST, entry)
        (folder / "one.npy").unlink()
    mark = tmp_path / "mark"
    with start(folder, mark, how) as builder:
        while not mark.exists():
            assert builder.poll() is None
        builder.kill()
    assert len(leftovers(folder)) == 1
    assert load(folder, DIGEST) is None
    assert_right(load_or_build(folder, DIGEST, entry))
    assert leftovers(folder) == []


def test_leftovers_of_another_entry_go_unless_it_is_being_built(folder, tmp_path):
    builders = {}
    for name in ("alive", "dead"):
        mark = tmp_path / name
        builders[name] = start(folder.with_name(name), mark, "writing")
        while not mark.exists():
            assert builders[name].poll() is None
    try:
        builders["dead"].kill()
        builders["dead"].communicate()
        assert len(leftovers(folder)) == 2
        assert_right(load_or_build(folder, DIGEST, entry))
        [left] = leftovers(folder)
        assert left.startswith(".alive.")
    finally:
        builders["alive"].kill()
        builders["alive"].communicate()


def test_of_eight_processes_at_once_one_builds(folder, tmp_path):
    builders = [start(folder, tmp_path / "mark", "") for _ in range(8)]
    outputs = {builder.communicate()[0] for builder in builders}
    assert [builder.returncode for builder in builders] == [0] * 8
    assert outputs == {f"{entry().arrays['big'].sum():.0f} 50.0\n"}
    assert (tmp_path / "builds").read_text() == "x"
    assert leftovers(folder) == []


def test_the_cache_folder_is_the_given_or_the_variable_or_the_user_s(monkeypatch, tmp_path):
    monkeypatch.setenv("HARNEST_CACHE", "~/elsewhere")
    assert cache_folder(tmp_path) == tmp_path
    assert cache_folder() == Path.home() / "elsewhere"
    monkeypatch.delenv("HARNEST_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder().name == "harnest"
