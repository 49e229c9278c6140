"""Access to a published data set: a zip archive, a folder, or a download."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harnest.core.errors import ConfigError, DataError
from harnest.har.data.archives import Files, FolderFiles, open_zip
from harnest.har.data.digests import files_digest
from harnest.har.data.download import fetch


@dataclass(frozen=True, slots=True)
class ArchiveSource:
    """A data set's zip archive, its unpacked folder, or (if both are None) a download of it.

    Args:
        archive: The zip archive.
        root: The unpacked folder.
        url: Address of the download.
        name: File name of the download in the cache.
        marker: A file that identifies the data set's top folder.
        reads: Prefixes of the names of the files that are used.
        check: Called with the files of a download; raises `DataError` if they are not the data set.
        inner: Name of a nested zip archive that may contain the data set.

    Raises:
        ConfigError: Both ``archive`` and ``root`` are given.
    """

    archive: str | Path | None
    root: str | Path | None
    url: str
    name: str
    marker: str
    reads: tuple[str, ...]
    check: Callable[[Files], object]
    inner: str | None = None

    def __post_init__(self) -> None:
        """Check that at most one origin is given."""
        if self.archive is not None and self.root is not None:
            raise ConfigError("data.archive and data.root are both given: leave one of them out")

    def digest(self) -> str:
        """Return the digest of the archive, or of the files used in the folder.

        Raises `DataError` if a file cannot be read or the download fails.
        """
        if self.root is not None:
            folder = self._folder(self.root)
            names = sorted(name for name in folder.names if name.startswith(self.reads))
            files: dict[str, str | Path] = {name: folder.path(name) for name in names}
        else:
            files = {"archive": self._archive()}
        try:
            return files_digest(files)
        except OSError as error:
            raise DataError(
                f"{error.filename} cannot be read ({error.strerror}): give the data set's zip file "
                "with data.archive, or its folder with data.root"
            ) from error

    @contextmanager
    def open(self) -> Iterator[Files]:
        """Open the files for a context; raises `DataError` if they are not this data set's."""
        if self.root is not None:
            yield self._folder(self.root)
        else:
            with open_zip(self._archive(), self.marker, self.inner) as files:
                yield files

    def _folder(self, root: str | Path) -> FolderFiles:
        return FolderFiles(Path(root).expanduser(), self.marker)

    def _archive(self) -> Path:
        if self.archive is not None:
            return Path(self.archive).expanduser()
        return fetch(self.url, self.name, self._check)

    def _check(self, archive: Path) -> None:
        with open_zip(archive, self.marker, self.inner) as files:
            self.check(files)
