"""Standard output and error that ignore a closed pipe."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

#: What writing fails with once a pipe's reader has ended, and once a terminal is closed.
_NO_READER = (errno.EPIPE, errno.EIO)


class _PipeWriter(io.FileIO):
    """Writes to a file descriptor, or to the null device once its reader has closed the pipe."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in _NO_READER:
                raise
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)
        return len(data)


@contextmanager
def ignore_broken_pipe() -> Iterator[None]:
    """Discard output inside instead of failing once its reader is gone.

    A pager that was quit or a terminal that was closed must not end a study, nor a job that
    prints in the study's process. Streams that are no files, as in a notebook, stay as they are.
    """
    with ExitStack() as stack:
        for stream, redirect in ((sys.stdout, redirect_stdout), (sys.stderr, redirect_stderr)):
            if _is_file(stream):
                wrapped = _wrap(stream)
                stack.enter_context(redirect(wrapped))
                stack.callback(wrapped.flush)
        yield


def _is_file(stream: TextIO) -> bool:
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # PYTHONUNBUFFERED leaves the buffer out
    return isinstance(raw, io.FileIO) and not isinstance(raw, _PipeWriter)


def _wrap(stream: TextIO) -> TextIO:
    """A stream to the same descriptor; the present one must not be written to meanwhile."""
    assert isinstance(stream, io.TextIOWrapper)
    stream.flush()
    raw = _PipeWriter(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
