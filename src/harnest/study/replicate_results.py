"""The scores of a running trial's replicates."""

import math
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
from hydra.core.utils import JobReturn, JobStatus

from harnest.study.outcome import Outcome, completed_outcome
from harnest.study.replicates import Replicate, Replicates


class ReplicateResults:
    """The replicates of a trial that has not ended: which of them wait, and the scores so far."""

    def __init__(self, replicates: Sequence[Replicate]) -> None:
        self.replicates = replicates
        self.waiting = list(range(len(replicates)))
        self.scores: dict[int, tuple[float, ...]] = {}

    @property
    def is_complete(self) -> bool:
        """Whether every replicate has its score."""
        return len(self.scores) == len(self.replicates)

    def outcome(self) -> Outcome:
        """The mean of the replicates' scores, one for each objective, and the first's deviation.

        Infinite scores that have no mean make the trial one whose objective is not a number.
        """
        scores = np.array(list(self.scores.values()))  # (replicates, objectives)
        with np.errstate(invalid="ignore"):
            means = scores.mean(axis=0).tolist()
            deviation = float(scores[:, 0].std(ddof=1)) if len(scores) > 1 else 0.0
        has_one = math.isfinite(deviation)
        return replace(
            completed_outcome(means, len(means)), deviation=deviation if has_one else None
        )


def replicates_in(done: "Future[JobReturn]") -> Sequence[Replicate]:
    """The replicates that a job which ended divides its trial into; none where it does not."""
    if not done.done() or done.exception() is not None:
        return ()
    job = done.result()
    value = job.return_value if job.status is JobStatus.COMPLETED else None
    return value.replicates if isinstance(value, Replicates) else ()
