"""Interface of a data set's reader, which every file in `harnest.har.data.sources` implements."""

from typing import Protocol, runtime_checkable

from harnest.har.data.recording import DataSet


@runtime_checkable
class Source(Protocol):
    """A source of recordings.

    A custom source is a class with these three members, in any importable module, named by
    `data.source._target_`. Those of harnest are frozen dataclasses whose fields are their options.
    """

    @property
    def name(self) -> str:
        """The data set's short name, equal to that of the `DataSet` that `read` returns."""

    def digest(self) -> str:
        """Return a hexadecimal digest of everything that determines the result of `read`.

        It covers the bytes to read, the options and the version of the reader, but neither paths
        nor times. For a class outside harnest its source files are added automatically. It is
        called before every run, so repeated calls should be cheap: see `harnest.har.data.digests`.

        Raises:
            DataError: There is nothing to read.
        """

    def read(self) -> DataSet:
        """Return all recordings; raises `DataError` if they are missing, damaged or unexpected."""
