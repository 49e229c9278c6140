"""Uniform access to the files of a data set in a folder, or in a zip archive without unpacking."""

import io
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from harnest.core.errors import DataError

# Far above the size of such data sets, far below a computer's memory.
_LARGEST = 512 * 2**20
"""Maximum unpacked size of one archive member [bytes]."""
_RATIO = 100
"""Maximum ratio of unpacked to packed size; that of numeric text is 3 to 10."""
_FREE = 2**20
"""Unpacked size [bytes] below which any ratio is valid: columns of equal labels compress well."""

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
"""Files that identify a data set, each with a hint for the error message."""


class Files(Protocol):
    """The files of a data set, named by their path below its top folder, separated by /."""

    @property
    def where(self) -> str:
        """Description of the archive or folder, for messages."""

    @property
    def names(self) -> frozenset[str]:
        """Every file's name."""

    def read(self, name: str) -> bytes:
        """Return a file's content; raises `DataError` if it is missing or damaged."""


class ZipFiles:
    """The members of a zip archive in the folder of the member ``marker``, and below it.

    Members are unpacked into memory one by one, within size limits. Nothing is written to disk, so
    no member name can cause a path traversal. Thread-safe.

    Args:
        archive: The open archive.
        where: Its description, for messages.
        marker: Name of the member that identifies the top folder.

    Raises:
        DataError: ``marker`` is missing or ambiguous, or two members have the same name.
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
        """Return a member's content; raises `DataError` if it is missing, damaged or a zip bomb."""
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
                # Limited to the declared size, zipfile unpacks no more than that, and its
                # checksum fails if there is more.
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
    """The text files of an unpacked data set; ``marker`` is in ``root`` or a direct subfolder.

    Raises `DataError` if ``root`` is no folder, or ``marker`` is missing or ambiguous.
    """

    def __init__(self, root: Path, marker: str) -> None:
        if not root.is_dir():
            problem = "is not a folder" if root.exists() else "does not exist"
            raise DataError(f"{root} {problem}: give data.root the folder that holds {marker}")
        self.where = str(root)
        # Checks single paths instead of walking: root may be a home folder, given by mistake.
        _, folders, _ = next(os.walk(root), ("", [], []))

        def seen(name: str) -> list[str]:
            places = (name, *(f"{folder}/{name}" for folder in folders))
            return [place for place in places if (root / place).is_file()]

        found = seen(marker) or [place for name in _KNOWN for place in seen(name)]
        # Strings, since Path.walk takes longer than the rest of opening a cached data set.
        self._top = str(root / _top(found, self.where, marker))
        self.names = frozenset(
            f"{folder}/{name}"[len(self._top) :].lstrip("/")
            for folder, _, names in os.walk(self._top)
            for name in names
            if name.endswith(".txt")
        )

    def path(self, name: str) -> str:
        """Return the path of a file."""
        return f"{self._top}/{name}"

    def read(self, name: str) -> bytes:
        """Return a file's content; raises `DataError` if it is missing or cannot be read."""
        if name not in self.names:
            raise _missing(self.where, name)
        try:
            return Path(self.path(name)).read_bytes()
        except OSError as error:
            raise DataError(f"{self.path(name)} cannot be read: {error.strerror}") from error


@contextmanager
def open_zip(path: Path, marker: str, inner: str | None = None) -> Iterator[ZipFiles]:
    """Open a zip archive, or the nested archive in it.

    Args:
        path: The archive.
        marker: Name of the member that identifies the data set's top folder.
        inner: Name of a nested archive; it is opened instead if ``path`` contains it.

    Raises:
        DataError: The file is no valid zip archive, or does not contain ``marker``.
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
    """Return the folder that contains ``marker``: empty, or a path that ends with a slash."""
    tops = {
        name.removesuffix(marker) for name in names if name == marker or name.endswith(f"/{marker}")
    }
    if len(tops) == 1:
        return tops.pop()
    if tops:
        raise DataError(f"{where}: {marker} lies in {len(tops)} folders; give a single data set")
    for other, hint in _KNOWN.items():
        if any(name == other or name.endswith(f"/{other}") for name in names):
            raise DataError(f"{where}: no {marker} in it; it looks like {hint}")
    raise DataError(f"{where}: no {marker} in it: is it another data set, or only a part of one?")


def _missing(where: str, name: str) -> DataError:
    return DataError(f"{where}: {name} is missing: fetch the whole data set again")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
