"""A cache of arrays on disk that several processes share."""

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
    """A folder of the cache: named arrays, and facts as JSON."""

    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any]


def cache_folder(cache: Path | None = None) -> Path:
    """Return ``cache``; for None, $HARNEST_CACHE or else the user's cache folder."""
    if cache is not None:
        return Path(cache).expanduser()
    chosen = os.environ.get("HARNEST_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("harnest")


def load_or_build(folder: Path, digest: str, build: Callable[[], Entry]) -> Entry:
    """Load the entry in ``folder``; build it if it is missing or damaged.

    One process builds while the others wait. An entry gets its name once it is complete and on
    disk.

    Raises:
        DataError: ``folder`` cannot be written.
    """
    entry = load(folder, digest)
    if entry is not None:
        return entry
    with _locked(folder):
        entry = load(folder, digest)  # another process may have made it while this one waited
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
    """Return the entry that ``folder`` holds under ``digest``, or None where it is not whole.

    Its arrays are memory-mapped: their pages are read when used and shared between processes.
    Writing to them changes a private copy. To find out whether the entry is whole costs no reading
    of the arrays: their sizes, shapes and types are compared with what was stored.
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
        return None  # any damaged entry is rebuilt


def _mapped(path: Path, dtype: str, shape: list[int], header: str) -> NDArray[Any]:
    # The header is compared, not parsed, and the map made by hand: a fifth of np.load's time.
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
    """Write ``entry`` beside ``folder``, then give it that name. The caller holds the lock."""
    _remove_old(folder)
    building = folder.with_name(f".{folder.name}.{uuid4().hex}.tmp")
    building.mkdir()
    try:
        kinds = {}
        for name, array in entry.arrays.items():
            path = building / f"{name}.npy"
            with path.open("wb") as file:  # not "w+b": numpy would copy the array first
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
        if folder.exists():  # damaged: out of the way first, since a rename replaces no full folder
            shutil.rmtree(folder)
        building.rename(folder)
        _folder_to_disk(folder.parent)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _remove_old(folder: Path) -> None:
    """Remove what builders that were killed have left beside ``folder``."""
    for left in folder.parent.glob(".*.tmp"):
        entry = left.name[1:].rsplit(".", 2)[0]
        if entry == folder.name:  # this process holds its lock, so its builder is dead
            shutil.rmtree(left, ignore_errors=True)
            continue
        lock = _lock(folder.with_name(entry))
        with suppress(filelock.Timeout), lock.acquire(blocking=False):
            shutil.rmtree(left, ignore_errors=True)


def _lock(folder: Path) -> filelock.BaseFileLock:
    # The kernel releases the lock when its holder dies.
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
            f"{folder}: cannot keep prepared data here ({error.strerror or error}): choose a "
            f"folder that you can write with data.cache=PATH or the variable HARNEST_CACHE"
        ) from error


def _to_disk(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _folder_to_disk(folder: Path) -> None:
    # A rename is durable once the folder that holds the names is.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
