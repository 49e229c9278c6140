"""Reads files of a data set from a zip archive or a folder, without unpacking to disk."""

import io
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from harnest.core.errors import DataError

# Far above what a data set of this kind holds, far below what fills a computer's memory.
_LARGEST = 512 * 2**20
"""Bytes that one member may have unpacked."""
_RATIO = 100
"""Times that a member may grow when unpacked; text of numbers grows three to ten times."""
_FREE = 2**20
"""Bytes below which any ratio is let pass: a column of equal labels shrinks to nearly nothing."""

_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,  # encrypted, or a compression that this Python lacks (NotImplementedError)
    ValueError,
)

_KNOWN = {
    "RawData/labels.txt": "the HAPT archive (data set 341): use data=hapt",
    "UCI HAR Dataset.zip": "the UCI HAR archive (data set 240): use data=uci_har",
    "train/y_train.txt": "the UCI HAR archive (data set 240): use data=uci_har",
}
"""A file that gives a data set away, and what to do about it."""


class Files(Protocol):
    """The files of a data set by their names below its top folder, with / between the parts."""

    @property
    def where(self) -> str:
        """The archive or folder, for messages."""

    @property
    def names(self) -> frozenset[str]:
        """Every file's name."""

    def read(self, name: str) -> bytes:
        """Return a file's content; raises `DataError` where it is missing or damaged."""


class ZipFiles:
    """The members of a zip archive that lie beside, or below, one of them: ``marker``.

    Members are unpacked into memory, one by one, and only as far as they keep to sane sizes:
    nothing is ever written, so no member's name can reach outside. May be read from many threads.
    """

    def __init__(self, archive: zipfile.ZipFile, where: str, marker: str) -> None:
        self.where = where
        self._archive = archive
        infos = [info for info in archive.infolist() if not info.is_dir()]
        top = _top([info.filename for info in infos], where, marker)
        below = [info for info in infos if info.filename.startswith(top)]
        self._infos = {info.filename.removeprefix(top): info for info in below}
        if len(self._infos) < len(below):
            raise DataError(f"{where}: a damaged archive: it holds two files of the same name")
        self.names = frozenset(self._infos)

    def read(self, name: str) -> bytes:
        """Return a member's content; raises `DataError` where it is missing, damaged or a bomb."""
        if name not in self._infos:
            raise _missing(self.where, name)
        info = self._infos[name]
        grows = info.file_size > max(_FREE, _RATIO * info.compress_size)
        if info.file_size > _LARGEST or grows:
            raise DataError(
                f"{self.where}: {name} would unpack to {info.file_size / 2**20:.0f} MiB from "
                f"{info.compress_size / 2**20:.1f} MiB, which no file of this data set does: "
                f"fetch the archive again from its official site"
            )
        try:
            with self._archive.open(info) as file:
                # Asked for no more than the size that is declared, zipfile unpacks no more, and
                # finds by the checksum that there was more.
                content = file.read(info.file_size)
        except _DAMAGED as error:
            raise DataError(
                f"{self.where}: {name} cannot be unpacked ({_line(error)}): the archive is "
                f"damaged, fetch it again"
            ) from error
        if len(content) != info.file_size:
            raise DataError(f"{self.where}: {name} is cut short: fetch the archive again")
        return content


class FolderFiles:
    """The files of an unpacked data set: ``marker`` lies in ``root`` or one folder further down."""

    def __init__(self, root: Path, marker: str) -> None:
        if not root.is_dir():
            problem = "is not a folder" if root.exists() else "does not exist"
            raise DataError(f"{root} {problem}: give data.root the folder that holds {marker}")
        self.where = str(root)
        # By name, not by walking the tree: the folder may be a home folder, by mistake.
        _, folders, _ = next(os.walk(root), ("", [], []))

        def seen(name: str) -> list[str]:
            places = (name, *(f"{folder}/{name}" for folder in folders))
            return [place for place in places if (root / place).is_file()]

        found = seen(marker) or [place for name in _KNOWN for place in seen(name)]
        # By strings: pathlib's own walk takes longer than all else that is asked of a cached set.
        self._top = str(root / _top(found, self.where, marker))
        self.names = frozenset(
            f"{folder}/{name}"[len(self._top) :].lstrip("/")
            for folder, _, names in os.walk(self._top)
            for name in names
            if name.endswith(".txt")
        )

    def path(self, name: str) -> str:
        """Return where a file lies."""
        return f"{self._top}/{name}"

    def read(self, name: str) -> bytes:
        """Return a file's content; raises `DataError` where it is missing or cannot be read."""
        if name not in self.names:
            raise _missing(self.where, name)
        try:
            return Path(self.path(name)).read_bytes()
        except OSError as error:
            raise DataError(f"{self.path(name)} cannot be read: {error.strerror}") from error


@contextmanager
def open_zip(path: Path, marker: str, inner: str | None = None) -> Iterator[ZipFiles]:
    """Open the zip archive at ``path``, or the archive ``inner`` inside it, if there is one.

    Raises:
        DataError: It is not a zip archive, or does not contain ``marker``.
    """
    if not path.is_file():
        problem = "is a folder: give it as data.root" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {problem}; data.archive takes the data set's zip file")
    with _opened(path, str(path)) as archive:
        names = archive.namelist()
        if inner is None or not any(name == inner or name.endswith(f"/{inner}") for name in names):
            yield ZipFiles(archive, str(path), marker)
            return
        where = f"{path}: {inner}"
        content = ZipFiles(archive, str(path), inner).read(inner)
        with _opened(io.BytesIO(content), where) as inside:
            yield ZipFiles(inside, where, marker)


def _opened(file: Path | io.BytesIO, where: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except _DAMAGED as error:
        raise DataError(
            f"{where} is not a complete zip file ({_line(error)}): fetch it again; a download that "
            "stopped early leaves such a file"
        ) from error


def _top(names: Sequence[str], where: str, marker: str) -> str:
    """Return the folder that holds ``marker``: empty, or a path that ends with a slash."""
    tops = {
        name.removesuffix(marker) for name in names if name == marker or name.endswith(f"/{marker}")
    }
    if len(tops) == 1:
        return tops.pop()
    if tops:
        raise DataError(f"{where}: {marker} lies in {len(tops)} folders of it: give one data set")
    for other, hint in _KNOWN.items():
        if any(name == other or name.endswith(f"/{other}") for name in names):
            raise DataError(f"{where}: no {marker} in it; it looks like {hint}")
    raise DataError(f"{where}: no {marker} in it: is it another data set, or only a part of one?")


def _missing(where: str, name: str) -> DataError:
    return DataError(f"{where}: {name} is missing: fetch the whole data set again")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
