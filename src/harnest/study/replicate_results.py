"""A trial on its way through its members."""

import math
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
from hydra.core.utils import JobReturn, JobStatus

from harnest.study.outcome import Outcome, completed_outcome
from harnest.study.replicates import Member, Members


class ReplicateResults:
    """The members of a trial that has not ended: which of them wait, and the scores so far."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        self.waiting = list(range(len(members)))
        self.scores: dict[int, tuple[float, ...]] = {}

    @property
    def is_complete(self) -> bool:
        """Whether every member has its score."""
        return len(self.scores) == len(self.members)

    def outcome(self) -> Outcome:
        """The mean of the members' scores, one for each objective, and the first's deviation.

        Infinite scores that have no mean make the trial one whose objective is not a number.
        """
        scores = np.array(list(self.scores.values()))  # (members, objectives)
        with np.errstate(invalid="ignore"):
            means = scores.mean(axis=0).tolist()
            deviation = float(scores[:, 0].std(ddof=1)) if len(scores) > 1 else 0.0
        has_one = math.isfinite(deviation)
        return replace(
            completed_outcome(means, len(means)), deviation=deviation if has_one else None
        )


def members_of(done: "Future[JobReturn]") -> Sequence[Member]:
    """The members that a job which ended divides its trial into; none where it does not."""
    if not done.done() or done.exception() is not None:
        return ()
    job = done.result()
    value = job.return_value if job.status is JobStatus.COMPLETED else None
    return value.members if isinstance(value, Members) else ()
