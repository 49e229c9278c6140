"""Cached digests of the files and code that a prepared data set is made from."""

import functools
import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import CodeType
from typing import Any

from harnest.har.data.cache import cache_folder

_RESTED = 2.0
"""Age [s] of a change above which the time stamp is reliable: a later change alters it."""


def source_digest(name: str, version: int, options: Mapping[str, Any], content: str) -> str:
    """Return the digest of a source.

    Args:
        name: Name of the reader.
        version: Version of the reader.
        options: Options of the reader, which JSON can represent.
        content: Digest of the files, see `files_digest`.
    """
    return hashlib.sha256(json.dumps([name, version, options, content]).encode()).hexdigest()


@functools.cache
def code_digest(kind: type) -> str:
    """Return a digest of the code of a class, or "" for a class of harnest itself.

    It covers the module files of the class and its base classes, except those of harnest, whose
    readers have versions, and of the standard library. For a class without a file, such as one
    defined in a notebook, it covers the compiled methods. The result is cached for the life of the
    process, since editing a file does not change a class that is already imported.
    """
    files: dict[str, str] = {}
    compiled: list[str] = []
    for one in kind.__mro__:
        package = one.__module__.partition(".")[0]
        if package == "harnest" or package in sys.stdlib_module_names - {"__main__"}:
            continue
        path = getattr(sys.modules.get(one.__module__), "__file__", None)
        if path and Path(path).is_file():
            if path not in files.values():
                files[str(len(files))] = path
        else:
            compiled.extend(_compiled(one))
    if not files and not compiled:
        return ""
    content = [files_digest(files) if files else "", compiled]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _compiled(kind: type) -> list[str]:
    """Return the byte code and constants of a class's methods, and its plain attributes."""
    found = []
    for name, value in sorted(vars(kind).items()):
        function = getattr(value, "fget", getattr(value, "__func__", value))
        code = getattr(function, "__code__", None)
        if isinstance(code, CodeType):
            found.append(f"{name} {_described(code)}")
        elif not name.startswith("__") and isinstance(value, int | float | str | bytes | None):
            found.append(f"{name} {value!r}")
    return found


def _described(code: CodeType) -> list[str]:
    def constant(value: Any) -> str:
        if isinstance(value, CodeType):
            return str(_described(value))
        # The order of a set differs from process to process.
        return str(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)

    return [code.co_code.hex(), *code.co_names, *map(constant, code.co_consts)]


def files_digest(files: Mapping[str, str | Path]) -> str:
    """Return the SHA-256, in hex, of the files' names (the keys) and contents, in the keys' order.

    The result is cached in the user's cache folder while each file keeps its path, size, inode and
    time stamps; a cached result is returned without reading the files. Raises OSError for a missing
    file.
    """
    stamp, newest = _stamp(files)
    memo = cache_folder() / "digests" / stamp
    try:
        known = memo.read_text()
    except OSError:
        known = ""
    if len(known) == 64:
        return known
    digest = hashlib.sha256()
    with ThreadPoolExecutor() as threads:  # hashing releases the GIL
        for name, content in zip(files, threads.map(_hashed, files.values()), strict=True):
            digest.update(f"{name}\0{content}\n".encode())
    if time.time() - newest > _RESTED and _stamp(files)[0] == stamp:
        _memoize(memo, digest.hexdigest())
    return digest.hexdigest()


def _hashed(path: str | Path) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamp(files: Mapping[str, str | Path]) -> tuple[str, float]:
    """Return a digest of the files' metadata, and the time of the latest change [s]."""
    marks, newest = [], 0.0
    for name, path in files.items():
        at, stat = os.path.abspath(path), os.stat(path)  # noqa: PTH100, PTH116  for speed
        marks.append((name, at, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino))
        newest = max(newest, stat.st_mtime, stat.st_ctime)
    return hashlib.sha256(json.dumps(marks).encode()).hexdigest(), newest


def _memoize(memo: Path, digest: str) -> None:
    # A missing memo costs only some milliseconds next time, so a failed write is ignored. A
    # truncated memo has fewer than 64 characters and is ignored.
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        memo.write_text(digest)
    except OSError:
        pass
