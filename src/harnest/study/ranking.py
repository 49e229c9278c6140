"""Which trials are best: the order of every table, report and leaderboard."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from harnest.study.events import TrialInfo

K = TypeVar("K")

_STATES = ("COMPLETE", "PRUNED", "RUNNING", "FAIL")


def pareto_front(scores: Mapping[K, Sequence[float]], directions: Sequence[str]) -> set[K]:
    """The keys of the scores that no other dominates; equal scores are all on the front.

    Args:
        scores: For each key, one score per objective.
        directions: ``minimize`` or ``maximize`` for each objective.
    """
    signs = [-1.0 if direction == "maximize" else 1.0 for direction in directions]
    losses = {
        key: tuple(sign * score for sign, score in zip(signs, values, strict=True))
        for key, values in scores.items()
    }
    front: list[tuple[float, ...]] = []
    for point in sorted(set(losses.values())):  # whatever dominates a point is sorted before it
        if not any(all(a <= b for a, b in zip(one, point, strict=True)) for one in front):
            front.append(point)
    on_front = set(front)
    return {key for key, point in losses.items() if point in on_front}


def rank_key(
    place: int,
    *,
    is_on_front: bool,
    breaks: bool,
    score: float | None,
    direction: str,
    tie: Any,
) -> tuple[Any, ...]:
    """A key to sort by, best first.

    Args:
        place: Of the state: finished, then pruned, then the rest.
        is_on_front: Whether no other dominates it; those come first.
        breaks: Whether it violates a constraint; those come after the others.
        score: Of the first objective; those without one come last.
        direction: ``minimize`` or ``maximize`` for that objective.
        tie: Decides between equals.
    """
    sign = -1.0 if direction == "maximize" else 1.0
    loss = 0.0 if score is None else sign * score
    return place, not is_on_front, breaks, score is None, loss, tie


def rank_trials(trials: Sequence["TrialInfo"], directions: Sequence[str]) -> list["TrialInfo"]:
    """Finished trials, best first, then pruned ones, then the rest.

    A trial without a score is ranked by the last value that it reported.
    """

    def key(trial: "TrialInfo") -> tuple[Any, ...]:
        values = trial.values or tuple(trial.steps.values())[-1:]
        return rank_key(
            _STATES.index(trial.state.name) if trial.state.name in _STATES else len(_STATES),
            is_on_front=trial.is_best,
            breaks=bool(trial.broken),
            score=values[0] if values else None,
            direction=directions[0],
            tie=trial.number,
        )

    return sorted(trials, key=key)


def best_numbers(trials: Sequence["TrialInfo"], directions: Sequence[str]) -> set[int]:
    """The numbers of the finished trials that break no constraint and that no other dominates."""
    finished = {
        trial.number: trial.values
        for trial in trials
        if trial.state.name == "COMPLETE" and trial.values and not trial.broken
    }
    return pareto_front(finished, directions)


def best_trial(trials: Sequence["TrialInfo"], directions: Sequence[str]) -> "TrialInfo | None":
    """The best trial, the earlier one of equals; None without one, or with several objectives."""
    if len(directions) > 1:
        return None
    first = min(best_numbers(trials, directions), default=None)
    return next((trial for trial in trials if trial.number == first), None)
