"""The protocol of data sources, see `harnest.har.data.sources`."""

from typing import Protocol, runtime_checkable

from harnest.har.data.recording import DataSet


@runtime_checkable
class Source(Protocol):
    """The protocol of a data source.

    A source of your own is a class with these three members in any importable module, named by
    ``data.source._target_``. Sources of harnest are frozen dataclasses whose fields are their
    options.
    """

    @property
    def name(self) -> str:
        """The data set's short name, the same as that of the `DataSet` that `read` returns."""

    def digest(self) -> str:
        """Hexadecimal digest of everything that determines what `read` returns, and nothing else.

        That is the content of the files, the options and the version of the reader, but neither
        paths nor times. The source files of a class outside harnest are added. It is called before
        every run, so it should be cheap when repeated: see `harnest.har.data.digests`.

        Raises:
            DataError: There is nothing to read.
        """

    def read(self) -> DataSet:
        """Return all recordings; raises `DataError` where they are missing, damaged or others."""
