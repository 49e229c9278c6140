"""Trials as text: end state, parameters, scores."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.trial import TrialState
from rich.markup import escape

from harnest.core.failure import INTERRUPTED
from harnest.study.events import TrialInfo

COLOURS = {
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.FAIL: "red",
    TrialState.RUNNING: "blue",
    TrialState.WAITING: "dim",
}


def ending_text(trial: TrialInfo) -> str:
    """How a trial ended, in a word or three."""
    if trial.state is TrialState.COMPLETE:
        return f"finished, breaks {', '.join(trial.broken)}" if trial.broken else "finished"
    if trial.state is TrialState.PRUNED:
        return "pruned"
    if trial.state is TrialState.FAIL:
        return "interrupted" if trial.reason == INTERRUPTED else f"failed ({trial.reason})"
    return trial.state.name.lower()


def scores(trial: TrialInfo) -> str:
    """The values that it has, or the last one that it reported."""
    values = trial.values or tuple(trial.steps.values())[-1:]
    deviation = "" if trial.deviation is None else f" ± {trial.deviation:.4f}"
    digits = (f"{value:.4f}" if abs(value) < 100 else f"{value:.6g}" for value in values)
    return ", ".join(digits) + deviation


def named_scores(trial: TrialInfo, names: Sequence[str]) -> str:
    """The values that it has, each with its objective's name, where the objectives have names."""
    if len(names) != len(trial.values) or len(names) < 2:
        return " ".join((*names[:1], scores(trial)))
    single = (replace(trial, values=(value,), deviation=None) for value in trial.values)
    return ", ".join(f"{name} {scores(one)}" for name, one in zip(names, single, strict=True))


def progress(trial: TrialInfo) -> str:
    """How far a trial got: the epochs it reported, or its finished replicates."""
    if trial.replicates:
        done = len(trial.steps) if trial.state is not TrialState.COMPLETE else trial.replicates
        return f"{done} of {trial.replicates} runs" if done < trial.replicates else f"{done} runs"
    if not trial.steps:  # a job need not report
        return ""
    return f"{len(trial.steps)} epoch{'s' if len(trial.steps) > 1 else ''}"


def params_text(params: Mapping[str, Any]) -> str:
    """The searched values, each with the last part of its key, as rich takes them."""
    return escape(plain_params_text(params))


def plain_params_text(params: Mapping[str, Any]) -> str:
    """The searched values, each with the last part of its key."""
    keys = list(params)
    return " ".join(
        f"{short_keys(key, keys)}={plain_value_of(value)}" for key, value in params.items()
    )


def plain_value_of(value: Any) -> str:
    """A searched value as text."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def short_keys(key: str, keys: Sequence[str]) -> str:
    """The last part of a dotted key, where no other key ends in the same."""
    last = key.rpartition(".")[2]
    return last if sum(k.rpartition(".")[2] == last for k in keys) == 1 else key


def duration_text(seconds: float) -> str:
    """A time as a person would say it: ``41.5 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"
