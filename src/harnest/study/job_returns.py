"""The job returns of a sweep, for callers that run Hydra from Python."""

import zlib
from collections.abc import Sequence
from concurrent.futures import Future
from typing import overload

import cloudpickle
from hydra.core.utils import JobReturn, JobStatus


class JobReturns(Sequence[JobReturn]):
    """Job returns in the order of trial numbers.

    Each holds two whole configs (0.2 MB), so they are stored compressed.
    """

    def __init__(self) -> None:
        self._packed: dict[int, bytes] = {}

    def keep(self, number: int, done: "Future[JobReturn]") -> None:
        """Store the return of trial ``number``; a job that never returned has failed."""
        error = done.exception()
        if error is None:
            returned = done.result()
        else:
            returned = JobReturn(status=JobStatus.FAILED)
            returned.return_value = error
        self._packed[number] = zlib.compress(cloudpickle.dumps(returned), 1)

    def __len__(self) -> int:
        return len(self._packed)

    @overload
    def __getitem__(self, index: int) -> JobReturn: ...

    @overload
    def __getitem__(self, index: slice) -> list[JobReturn]: ...

    def __getitem__(self, index: int | slice) -> JobReturn | list[JobReturn]:
        numbers = sorted(self._packed)
        if isinstance(index, slice):
            return [self._unpacked(number) for number in numbers[index]]
        return self._unpacked(numbers[index])

    def _unpacked(self, number: int) -> JobReturn:
        returned: JobReturn = cloudpickle.loads(zlib.decompress(self._packed[number]))
        return returned
