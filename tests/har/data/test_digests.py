import hashlib
import os
import time

import pytest

from harnest.har.data import digests
from harnest.har.data.digests import files_digest, source_digest


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    return path


@pytest.fixture
def hashed(monkeypatch):
    """How often a file's content was hashed."""
    calls = []
    file_digest = hashlib.file_digest

    def counting(file, name):
        calls.append(file.name)
        return file_digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", counting)
    return calls


@pytest.fixture
def rested(monkeypatch):
    monkeypatch.setattr(digests, "_RESTED", -1.0)


def test_a_digest_depends_on_names_contents_and_order(tmp_path, file):
    other = tmp_path / "other"
    other.write_bytes(b"abd")
    variants = [
        {"a": file},
        {"b": file},
        {"a": other},
        {"a": file, "b": other},
        {"a": other, "b": file},
        {"b": other, "a": file},
    ]
    assert len({files_digest(files) for files in variants}) == len(variants)


def test_a_digest_does_not_depend_on_the_place(tmp_path, file):
    copy = tmp_path / "deeper" / "copy"
    copy.parent.mkdir()
    copy.write_bytes(file.read_bytes())
    assert files_digest({"a": file}) == files_digest({"a": copy})


def test_a_file_is_hashed_once(file, hashed, rested):
    first = files_digest({"a": file})
    assert files_digest({"a": file}) == first
    assert len(hashed) == 1


def test_a_change_of_same_size_and_time_is_seen(file, hashed, rested):
    before = file.stat()
    first = files_digest({"a": file})
    file.write_bytes(b"abd")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert files_digest({"a": file}) != first


def test_a_file_just_written_is_not_remembered(file, hashed):
    files_digest({"a": file})
    files_digest({"a": file})
    assert len(hashed) == 2


def test_a_memory_cut_short_is_not_believed(file, own_cache, rested):
    first = files_digest({"a": file})
    [memo] = (own_cache / "digests").iterdir()
    memo.write_text(memo.read_text()[:20])
    assert files_digest({"a": file}) == first
    assert memo.read_text() == first


def test_no_place_to_remember_is_no_error(file, monkeypatch, rested, tmp_path):
    (tmp_path / "blocked").touch()
    monkeypatch.setenv("HARNEST_CACHE", str(tmp_path / "blocked"))
    assert len(files_digest({"a": file})) == 64


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        files_digest({"a": tmp_path / "none"})


def test_a_source_is_told_by_name_version_options_and_content():
    variants = [
        ("a", 1, {"x": 1}, "c"),
        ("b", 1, {"x": 1}, "c"),
        ("a", 2, {"x": 1}, "c"),
        ("a", 1, {"x": 2}, "c"),
        ("a", 1, {"x": 1}, "d"),
    ]
    assert len({source_digest(*variant) for variant in variants}) == len(variants)


def test_files_older_than_the_clock_tick_are_remembered(file, hashed, monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3)
    files_digest({"a": file})
    files_digest({"a": file})
    assert len(hashed) == 1


def test_a_file_changed_while_it_is_hashed_is_not_remembered(file, own_cache, monkeypatch, rested):
    file_digest = hashlib.file_digest

    def disturbed(opened, name):
        digest = file_digest(opened, name)
        file.write_bytes(b"changed meanwhile")
        return digest

    monkeypatch.setattr(hashlib, "file_digest", disturbed)
    files_digest({"a": file})
    assert not (own_cache / "digests").exists()
