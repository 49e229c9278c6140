"""Downloads a data set's archive, verifies it, and leaves no partial file."""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO
from uuid import uuid4

import filelock

from harnest.core.errors import DataError
from harnest.har.data.cache import cache_folder

_CONNECT, _ANSWER = 5.0, 8.0
"""Seconds until a connection stands, and from then on between two pieces of the answer."""
_PATIENCE = 10.0
"""Seconds without a byte after which to give up, whatever is to blame: names are looked up, and
redirections followed, under no time limit of their own."""


def fetch(url: str, name: str, check: Callable[[Path], object]) -> Path:
    """Download ``url`` to the cache folder once.

    One process downloads while the others wait, and fails for all. Without a network it fails
    within about 10 s.

    Args:
        url: What to download.
        name: Name of the file in the cache folder.
        check: Raises `DataError` for a wrong file; the file gets its name only after it.

    Raises:
        DataError: It cannot be downloaded or saved.
    """
    folder = cache_folder() / "downloads"
    target = folder / name
    if target.is_file():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        failure = folder / f".{name}.failed"
        before = _changed(failure)
        with filelock.FileLock(folder / f".{name}.lock"):
            if target.is_file():
                return target
            if _changed(failure) != before:  # while this process waited: no need to try as well
                raise DataError(failure.read_text(encoding="utf-8"))
            for left in folder.glob(f".{name}.*.part"):  # by a process that was killed
                left.unlink()
            try:
                _download(url, target, check)
            except DataError as error:
                failure.write_text(str(error), encoding="utf-8")
                raise
    except OSError as error:
        raise DataError(
            f"{folder}: cannot store a download here ({error.strerror or error}): choose a "
            "writable folder with the variable HARNEST_CACHE, or from "
            f"{url} {_manual_steps(url)}"
        ) from error
    return target


def _download(url: str, target: Path, check: Callable[[Path], object]) -> None:
    part = target.with_name(f".{target.name}.{uuid4().hex}.part")
    try:
        with part.open("wb") as file:
            try:
                _transfer(url, file)
            except Exception as error:
                raise DataError(
                    f"{url} cannot be downloaded ({_reason(error)}): {_manual_steps(url)}"
                ) from error
            file.flush()
            os.fsync(file.fileno())
        try:
            check(part)
        except DataError as error:
            problem = str(error).replace(str(part), "the file")
            raise DataError(
                f"{url}: the response is not the data set ({problem}): {_manual_steps(url)}"
            ) from error
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _transfer(url: str, file: IO[bytes]) -> None:
    """Download ``url`` into ``file``, in a thread, so that no step of it can last for ever."""
    import pooch

    download = pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(), chunk_size=2**16, timeout=(_CONNECT, _ANSWER)
    )
    errors: list[BaseException] = []

    def work() -> None:
        try:
            download(url, file, None)
        except BaseException as error:
            errors.append(error)

    # A daemon: should it never come back, it ends with the process, and finds its file closed.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    size, since = 0, time.monotonic()
    while thread.is_alive():
        thread.join(0.05)
        grown = os.fstat(file.fileno()).st_size
        if grown > size:
            size, since = grown, time.monotonic()
        if time.monotonic() - since > _PATIENCE:
            raise TimeoutError
    if errors:
        raise errors[0]


def _reason(error: BaseException) -> str:
    """Return what an error of many layers comes down to, in a few words."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server says {error.response.status_code} {error.response.reason}"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TimeoutError | requests.Timeout):
            return "no answer"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return " ".join(str(error).split())


def _manual_steps(url: str) -> str:
    file = url.rsplit("/", 1)[-1]
    return f"fetch {file} by hand, in a browser, and give that file with data.archive=PATH"


def _changed(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
