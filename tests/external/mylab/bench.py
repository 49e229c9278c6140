"""Recordings of a vibrating bench, made up: a class of harnest's contract for sources."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from harnest.har.data.digests import source_digest
from harnest.har.data.recording import Channel, DataSet, Recording, Segment


@dataclass(frozen=True)
class Bench:
    """Each of ``subjects`` people shakes the bench slowly, then fast: 20 Hz, three axes."""

    subjects: int = 6
    name: ClassVar[str] = "bench"

    def digest(self) -> str:
        """Everything that decides what `read` returns: the reader's version and its options."""
        return source_digest(self.name, 1, {"subjects": self.subjects}, "")

    def read(self) -> DataSet:
        """Return one recording of 60 s per person."""
        recordings = tuple(self._recording(subject) for subject in range(1, self.subjects + 1))
        return DataSet(
            name=self.name,
            rate=20.0,
            channels=tuple(Channel(f"acc_{axis}", "m/s²") for axis in "xyz"),
            activities=("slow / lento", "fast (4 Hz)"),
            recordings=recordings,
        )

    def _recording(self, subject: int) -> Recording:
        noise = np.random.default_rng(subject).normal(size=(1200, 3))
        seconds = np.arange(1200)[:, None] / 20
        wave = np.sin(2 * np.pi * np.where(seconds < 30, 0.5, 4.0) * seconds)
        signal = (3 * wave + noise).astype(np.float32)
        segments = (Segment(0, 600, 0), Segment(600, 1200, 1))
        return Recording(f"person-{subject}", subject, signal, segments)


@dataclass(frozen=True)
class PartialBench(Bench):
    """The same, but every second person shakes it slowly alone."""

    name: ClassVar[str] = "partial_bench"

    def digest(self) -> str:
        """As `Bench.digest`, of another reader."""
        return source_digest(self.name, 1, {"subjects": self.subjects}, "")

    def read(self) -> DataSet:
        """Return one recording of 60 s per person, of which only half may be labelled."""
        whole = super().read()
        recordings = tuple(
            replace(one, segments=one.segments[: 1 + one.subject % 2]) for one in whole.recordings
        )
        return replace(whole, name=self.name, recordings=recordings)
