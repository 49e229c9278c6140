"""The protocol of data sources, see `harnest.har.data.sources`."""

from typing import Protocol, runtime_checkable

from harnest.har.data.recording import DataSet


@runtime_checkable
class Source(Protocol):
    """Where recordings come from.

    A source of your own is a class with these three members, in any importable module, named by
    `data.source._target_`. Those of harnest are frozen dataclasses whose fields are their options.
    """

    @property
    def name(self) -> str:
        """The data set's short name, the same as that of the `DataSet` that `read` returns."""

    def digest(self) -> str:
        """Return a hexadecimal digest of all that decides what `read` returns, and nothing else.

        These are the bytes to be read, the options and the version of the reader; neither paths
        nor times belong to it. The source files of a class outside harnest count beside it. It is
        asked before every run, so it should be cheap when asked again: see
        `harnest.har.data.digests`.
        Raises `DataError` where there is nothing to read.
        """

    def read(self) -> DataSet:
        """Return all recordings; raises `DataError` where they are missing, damaged or others."""
