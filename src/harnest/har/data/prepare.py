"""Preparation of windows from a source, cached on disk and shared by all trials."""

import hashlib
import json
import math
import string
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harnest.core.errors import ConfigError, DataError
from harnest.har.data.cache import Entry, cache_folder, load_or_build
from harnest.har.data.digests import code_digest
from harnest.har.data.recording import Channel, check
from harnest.har.data.source import Source
from harnest.har.data.windows import cut_windows

_FORMAT = 1
"""Version of the cached entries; increase it when the same input gives different entries."""

_PLAIN = frozenset(f"{string.ascii_letters}{string.digits}_-")
"""Characters allowed in the name of a cache folder."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """All n windows of a data set, in the order of its recordings.

    The arrays are memory-mapped copy-on-write: processes that open the same windows share their
    pages. ``digest`` identifies the content: equal digests mean equal windows.
    """

    signals: NDArray[np.float32]
    """(n, time, channels), in the units of ``channels``."""
    labels: NDArray[np.int64]
    """(n,), indices into ``activities``."""
    subjects: NDArray[np.int64]
    """(n,), the data set's subject numbers."""
    rate: float
    """Steps per second [Hz]."""
    channels: tuple[Channel, ...]
    activities: tuple[str, ...]
    test_subjects: tuple[int, ...]
    """The test subjects defined by the data set's authors; empty if there are none."""
    name: str
    digest: str


def prepare(source: Source, *, window: float, step: float, cache: Path | None = None) -> Windows:
    """Return the windows of a source, from the cache if they are there.

    Windows that are missing from the cache or damaged are built. Of several concurrent processes
    one builds them while the others wait.

    Args:
        source: The source of the recordings.
        window: Length of a window [s], rounded to whole steps of the data set's rate.
        step: Distance between the starts of consecutive windows [s], rounded likewise.
        cache: Cache folder, in whose subfolder ``prepared`` the windows are stored; None means the
            user's cache folder.

    Raises:
        ConfigError: A length is invalid, or the source overrides ``read`` but not ``digest``.
        DataError: The data are missing or damaged, or the cache folder cannot be used.
    """
    _refuse_inherited_digest(source)
    for key, seconds in (("window", window), ("step", step)):
        if not (math.isfinite(seconds) and seconds > 0):
            raise ConfigError(f"data.{key}={seconds}: give a time in seconds above 0")
    read = source.digest()
    code = code_digest(type(source))
    content = [_FORMAT, read, float(window), float(step), *filter(None, [code])]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    name = "".join(one if one in _PLAIN else "_" for one in source.name)
    entry = load_or_build(
        cache_folder(cache) / "prepared" / f"{name}-{digest[:16]}",
        digest,
        lambda: _build(source, window, step, read),
    )
    return Windows(
        signals=entry.arrays["signals"],
        labels=entry.arrays["labels"],
        subjects=entry.arrays["subjects"],
        rate=entry.meta["rate"],
        channels=tuple(Channel(**channel) for channel in entry.meta["channels"]),
        activities=tuple(entry.meta["activities"]),
        test_subjects=tuple(entry.meta["test_subjects"]),
        name=entry.meta["name"],
        digest=digest,
    )


def _refuse_inherited_digest(source: Source) -> None:
    """Raise `ConfigError` if a source overrides ``read`` but not ``digest``.

    It would get the cached windows of the class from which it inherits ``digest``.
    """
    kind = type(source)
    digests = next((one for one in kind.__mro__ if "digest" in vars(one)), None)
    if digests and getattr(digests, "read", kind.read) not in (kind.read, Source.read):
        raise ConfigError(
            f"{kind.__qualname__} overrides read() but inherits digest() from "
            f"{digests.__qualname__}, and would get its cached windows: override digest() as well"
        )


def _build(source: Source, window: float, step: float, digest: str) -> Entry:
    data_set = check(source.read())
    if source.digest() != digest:  # the windows would be cached under the old digest
        raise DataError(f"{data_set.name}: its files changed while they were read: try again")
    length, stride = (round(seconds * data_set.rate) for seconds in (window, step))
    for key, seconds, steps in (("window", window, length), ("step", step, stride)):
        if steps < 1:
            raise ConfigError(
                f"data.{key}={seconds:g}: shorter than one step of {data_set.name} at "
                f"{data_set.rate:g} Hz: give at least {1 / data_set.rate:g}"
            )
    meta: dict[str, Any] = {
        "name": data_set.name,
        "rate": float(data_set.rate),
        "channels": [asdict(channel) for channel in data_set.channels],
        "activities": data_set.activities,
        "test_subjects": [int(subject) for subject in data_set.test_subjects],
    }
    return Entry(cut_windows(data_set, length, stride)._asdict(), meta)
