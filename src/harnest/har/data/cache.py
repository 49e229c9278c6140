"""On-disk cache of arrays, built once and shared between processes."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from mmap import ACCESS_COPY, mmap
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import filelock
import numpy as np
from numpy.typing import NDArray

from harnest.core.errors import DataError

_META = "meta.json"


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """Content of one cache folder: named arrays, and metadata that JSON can represent."""

    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any]


def cache_folder(cache: Path | None = None) -> Path:
    """Return ``cache``; if None, $HARNEST_CACHE, or else the user's cache folder."""
    if cache is not None:
        return Path(cache).expanduser()
    chosen = os.environ.get("HARNEST_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("harnest")


def load_or_build(folder: Path, digest: str, build: Callable[[], Entry]) -> Entry:
    """Return the cache entry in ``folder``, and build it if it is missing or damaged.

    A lock ensures that one process builds the entry while others wait. An entry gets its final
    name only when it is complete and flushed to disk.

    Args:
        folder: The entry's folder.
        digest: Digest of the expected content; an entry with another one is rebuilt.
        build: Builds the entry; its exceptions propagate.

    Raises:
        DataError: The folder cannot be written or read back.
    """
    entry = load(folder, digest)
    if entry is not None:
        return entry
    with _locked(folder):
        entry = load(folder, digest)  # another process may have built it meanwhile
        if entry is not None:
            return entry
        built = build()
        with _errors_as_data_errors(folder.parent):
            _store(built, folder, digest)
    entry = load(folder, digest)
    if entry is None:
        raise DataError(
            f"{folder}: the prepared data cannot be read back; is the disk damaged? Choose another "
            f"folder with data.cache=PATH"
        )
    return entry


def load(folder: Path, digest: str) -> Entry | None:
    """Return the entry in ``folder``; None if it is missing, incomplete or has another digest.

    Its arrays are memory-mapped: pages are read on access and shared between processes. Writing to
    an array changes a private copy. The check for completeness does not read the arrays: it
    compares sizes, shapes and types with the stored metadata.
    """
    try:
        stored = json.loads((folder / _META).read_text())
        if stored["digest"] != digest:
            return None
        arrays = {
            name: _mapped(folder / f"{name}.npy", *kind) for name, kind in stored["arrays"].items()
        }
        return Entry(arrays, dict(stored["meta"]))
    except (OSError, ValueError, EOFError, LookupError, TypeError, AttributeError):
        return None  # any kind of damage leads to a rebuild


def _mapped(path: Path, dtype: str, shape: list[int], header: str) -> NDArray[Any]:
    # Comparing the header and mapping the file directly takes a fifth of np.load's time.
    begins = header.encode("latin1")
    with path.open("rb") as file:
        if file.read(len(begins)) != begins:
            raise ValueError(f"{path} is not the array that was stored")
        content = mmap(file.fileno(), 0, access=ACCESS_COPY)
    array: NDArray[Any] = np.ndarray(shape, dtype, content, len(begins))
    if len(begins) + array.nbytes != len(content):
        raise ValueError(f"{path} is not as long as the array that was stored")
    return array


def _store(entry: Entry, folder: Path, digest: str) -> None:
    """Write ``entry`` to a temporary folder and rename it. The caller holds the lock."""
    _remove_old(folder)
    building = folder.with_name(f".{folder.name}.{uuid4().hex}.tmp")
    building.mkdir()
    try:
        kinds = {}
        for name, array in entry.arrays.items():
            path = building / f"{name}.npy"
            with path.open("wb") as file:  # with "w+b" numpy would copy the array first
                np.save(file, np.asarray(array, order="C"), allow_pickle=False)
                _to_disk(file)
                header_size = file.tell() - array.nbytes
            with path.open("rb") as file:
                header = file.read(header_size).decode("latin1")
            kinds[name] = array.dtype.str, array.shape, header
        with (building / _META).open("w") as file:
            json.dump({"digest": digest, "arrays": kinds, "meta": entry.meta}, file, indent=1)
            _to_disk(file)
        _folder_to_disk(building)
        if folder.exists():  # damaged; a rename cannot replace a non-empty folder
            shutil.rmtree(folder)
        building.rename(folder)
        _folder_to_disk(folder.parent)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _remove_old(folder: Path) -> None:
    """Remove temporary folders of killed builders beside ``folder``."""
    for left in folder.parent.glob(".*.tmp"):
        entry = left.name[1:].rsplit(".", 2)[0]
        if entry == folder.name:  # this process holds the lock, so its builder is dead
            shutil.rmtree(left, ignore_errors=True)
            continue
        lock = _lock(folder.with_name(entry))
        with suppress(filelock.Timeout), lock.acquire(blocking=False):
            shutil.rmtree(left, ignore_errors=True)


def _lock(folder: Path) -> filelock.BaseFileLock:
    # The operating system releases the lock when its holder dies.
    return filelock.FileLock(folder.with_name(f".{folder.name}.lock"))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = _lock(folder)
    with _errors_as_data_errors(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _errors_as_data_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{folder}: cannot store prepared data here ({error.strerror or error}): choose a "
            f"writable folder with data.cache=PATH or the variable HARNEST_CACHE"
        ) from error


def _to_disk(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _folder_to_disk(folder: Path) -> None:
    # A rename is durable only after the parent folder is flushed.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
