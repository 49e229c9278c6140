"""Rows of a ranked table of trials and runs, with repetitions over seeds merged."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harnest.study.ranking import pareto_front, rank_key

#: Names of end states in tables.
FINISHED, PRUNED = "FINISHED", "PRUNED"

#: Name of the parameter whose values are repetitions, not choices.
SEED = "seed"


@dataclass(frozen=True)
class LeaderboardRow:
    """One trial or run, or several that differ only in their seed.

    ``scores`` has one number per objective, and is empty if there is no score. For several seeds
    ``scores`` are means and ``deviations`` their sample standard deviations; a trial with
    replicates has the same. ``seconds`` is None while the trial or run is active. ``broken`` names
    the study's constraints that it violates.
    """

    name: str
    run_id: str
    state: str
    scores: tuple[float, ...]
    steps: int | None
    seconds: float | None
    params: dict[str, str]
    deviations: tuple[float, ...] = ()
    seeds: int = 1
    broken: tuple[str, ...] = ()
    is_on_front: bool = False


def ranked(rows: Iterable[LeaderboardRow], directions: Sequence[str]) -> list[LeaderboardRow]:
    """Sort rows: finished runs first, then pruned ones, then the rest.

    Within each state rows are sorted by the first objective; rows that violate a constraint come
    after those that violate none, and rows without a score come last. With several objectives the
    rows on the Pareto front come first and are marked. Of equals the earlier trial comes first.

    Args:
        rows: The rows, in any order.
        directions: ``minimize`` or ``maximize``, one per objective.
    """
    listed = list(rows)
    if len(directions) > 1:
        finished = {
            at: row.scores
            for at, row in enumerate(listed)
            if row.state == FINISHED and row.scores and not row.broken
        }
        front = pareto_front(finished, directions)
        listed = [replace(row, is_on_front=at in front) for at, row in enumerate(listed)]
    places = {FINISHED: 0, PRUNED: 1}
    return sorted(
        listed,
        key=lambda row: rank_key(
            places.get(row.state, 2),
            is_on_front=row.is_on_front,
            breaks=bool(row.broken),
            score=row.scores[0] if row.scores else None,
            direction=directions[0],
            tie=(len(row.name), row.name),  # trial-2 before trial-10
        ),
    )


def without_seeds(rows: Sequence[LeaderboardRow]) -> list[LeaderboardRow]:
    """Merge finished rows that differ only in ``seed``; other rows stay as they are.

    A row whose seed is already in its group also stays: it is a repeated run, or one named twice.
    """
    groups: dict[object, list[LeaderboardRow]] = {}
    for number, row in enumerate(rows):
        rest = tuple((key, value) for key, value in row.params.items() if key != SEED)
        is_number = bool(row.scores) and all(map(math.isfinite, row.scores))
        together = row.state == FINISHED and is_number and SEED in row.params
        key = (rest, row.broken) if together else number
        if any(one.params[SEED] == row.params[SEED] for one in groups.get(key, ())):
            key = number
        groups.setdefault(key, []).append(row)
    return [group[0] if len(group) == 1 else _mean(group) for group in groups.values()]


def _mean(rows: Sequence[LeaderboardRow]) -> LeaderboardRow:
    group = sorted(rows, key=lambda row: (len(row.params[SEED]), row.params[SEED]))  # 2 before 10
    scores = list(zip(*(row.scores for row in group), strict=True))
    seconds = [row.seconds for row in group if row.seconds is not None]
    steps = [row.steps for row in group if row.steps is not None]
    return replace(
        group[0],
        name=f"{group[0].name} and {len(group) - 1} more",
        scores=tuple(statistics.fmean(one) for one in scores),
        deviations=tuple(statistics.stdev(one) for one in scores),
        steps=round(statistics.fmean(steps)) if steps else None,
        seconds=statistics.fmean(seconds) if seconds else None,
        params=group[0].params | {SEED: ", ".join(row.params[SEED] for row in group)},
        seeds=len(group),
    )
