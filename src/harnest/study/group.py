"""A trial on its way through its members."""

import statistics
from collections.abc import Sequence
from concurrent.futures import Future

from hydra.core.utils import JobReturn, JobStatus
from optuna.trial import TrialState

from harnest.study.members import Member, Members
from harnest.study.outcome import Outcome


class Group:
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
        """The mean of the members' scores, one for each objective, and the first's deviation."""
        columns = list(zip(*self.scores.values(), strict=True))
        deviation = statistics.stdev(columns[0]) if len(self.scores) > 1 else 0.0
        means = tuple(statistics.fmean(column) for column in columns)
        return Outcome(TrialState.COMPLETE, means, deviation=deviation)


def members_of(done: "Future[JobReturn]") -> Sequence[Member]:
    """The members that a job which ended divides its trial into; none where it does not."""
    if not done.done() or done.exception() is not None:
        return ()
    job = done.result()
    value = job.return_value if job.status is JobStatus.COMPLETED else None
    return value.members if isinstance(value, Members) else ()
