"""Figures of a study: history, parameter importance, parameters and learning curves."""

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import optuna
import plotly.graph_objects as go
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    json_to_distribution,
)
from optuna.study import StudyDirection
from optuna.trial import TrialState
from optuna.visualization import (
    plot_optimization_history,
    plot_parallel_coordinate,
    plot_param_importances,
    plot_pareto_front,
    plot_slice,
)

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from harnest.study.events import TrialInfo

_BLUE, _GREY, _ORANGE, _PRUNED = "#2f6690", "#b8bfc6", "#d1603d", "#7d8894"
_NUMBER = "trial"  # user attribute: the original number, since only ended trials are copied
_FRONT_AXES = (2, 3)  # numbers of objectives for which Optuna can plot a Pareto front

#: Legend of pruned trials: they have no score and are drawn at their last reported value.
PRUNED = "pruned, at its last reported value"


def to_optuna_study(
    trials: Sequence["TrialInfo"], directions: Sequence[str], space: Mapping[str, Any]
) -> optuna.Study:
    """Build an in-memory Optuna study of the ended trials, for Optuna's plots.

    Args:
        trials: The trials.
        directions: ``minimize`` or ``maximize``, one per objective.
        space: The search distributions by key, in Optuna's JSON format, or a mapping of such
            distributions by condition.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it warns about every empty figure
    study = optuna.create_study(directions=[StudyDirection[one.upper()] for one in directions])
    tried = [trial for trial in trials if _is_drawn(trial, len(directions))]
    distributions = {
        key: _wide_enough(
            [json_to_distribution(json.dumps(one)) for one in _each(described)],
            [trial.params[key] for trial in tried if key in trial.params],
        )
        for key, described in space.items()
    }
    limits = sorted({name for trial in tried for name in trial.broken})
    for trial in tried:
        params = {key: value for key, value in trial.params.items() if key in distributions}
        study.add_trial(
            optuna.trial.create_trial(
                state=trial.state,
                values=list(trial.values) if trial.state is TrialState.COMPLETE else None,
                params=params,
                distributions={key: distributions[key] for key in params},
                intermediate_values=dict(trial.steps),
                user_attrs={_NUMBER: trial.number},
                # In every trial: in a study with constraints Optuna treats a trial without any as
                # infeasible.
                constraints={name: float(name in trial.broken) for name in limits},
            )
        )
    return study


def figures(study: optuna.Study, objectives: Sequence[str]) -> Iterator[tuple[str, go.Figure]]:
    """Yield the title and figure of each figure that is not empty.

    Figures of single trials include pruned ones at their last reported value, which Optuna's own
    figures leave out.

    Args:
        study: A study built by `to_optuna_study`.
        objectives: Names of the study's objectives.
    """
    finished = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    searched = list(dict.fromkeys(key for trial in finished for key in trial.params))
    if finished and len(objectives) in _FRONT_AXES:
        front = plot_pareto_front(study, target_names=list(objectives))
        yield "Pareto front", _styled(front)
    for index, name in enumerate(objectives if finished else ()):

        def target(trial: optuna.trial.FrozenTrial, at: int = index) -> float:
            return float(trial.values[at])

        def loss(trial: optuna.trial.FrozenTrial, at: int = index) -> float:
            sign = -1 if study.directions[at] is StudyDirection.MAXIMIZE else 1
            return sign * float(trial.values[at])

        several = len(objectives) > 1
        of = f" of {name}" if several else ""
        chosen: dict[str, Any] = {"target_name": name} | ({"target": target} if several else {})
        history = _with_pruned_history(plot_optimization_history(study, **chosen), study)
        yield f"History{of}", _styled(history)
        if searched and len({target(trial) for trial in finished}) > 1:
            # Optuna warns that it evaluates importance for low targets; `loss` is such a target.
            with suppress(ValueError, RuntimeError), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                weighed = plot_param_importances(study, target=loss, target_name=name)
                yield f"Importance of parameters{of}", _styled(weighed)
        if searched:
            rows = _styled(_parallel_coordinates(study, chosen))
            rows.update_layout(margin_l=80)
            yield f"Parameters side by side{of}", rows
            slices = _with_pruned_slices(plot_slice(study, **chosen), study)
            yield f"One parameter at a time{of}", _styled(slices)
    if any(trial.intermediate_values for trial in study.get_trials(deepcopy=False)):
        yield "Learning curves", _styled(learning_curves(study, objectives[0]))


def last_reported(trial: "TrialInfo | FrozenTrial") -> float | None:
    """Return a pruned trial's last reported value, which stands for the score that it lacks.

    None if the trial was not pruned, or its last value is not finite.
    """
    steps = trial.intermediate_values if hasattr(trial, "intermediate_values") else trial.steps
    if trial.state is not TrialState.PRUNED or not steps:
        return None
    value = float(steps[max(steps)])
    return value if math.isfinite(value) else None


def _pruned(study: optuna.Study) -> list[tuple["FrozenTrial", float]]:
    """Return the pruned trials with a last reported value, each with that value."""
    trials = study.get_trials(deepcopy=False, states=[TrialState.PRUNED])
    values = [(trial, last_reported(trial)) for trial in trials]
    return [(trial, value) for trial, value in values if value is not None]


def _add_pruned(
    figure: go.Figure,
    xs: Sequence[Any],
    trials: Sequence[tuple["FrozenTrial", float]],
    **where: Any,
) -> None:
    figure.add_scatter(
        x=xs, y=[value for _, value in trials], mode="markers", name=PRUNED, legendgroup=PRUNED,
        text=[f"trial {trial.user_attrs.get(_NUMBER, trial.number)}" for trial, _ in trials],
        marker={"symbol": "x-thin-open", "color": _PRUNED, "size": 7},
        hovertemplate="%{text}, pruned: last %{y:.4f} at %{x}<extra></extra>", **where,
    )  # fmt: skip
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}  # keeps the full width
    figure.update_layout(showlegend=True, legend=legend)


def _with_pruned_history(figure: go.Figure, study: optuna.Study) -> go.Figure:
    pruned = _pruned(study)
    if pruned:
        _add_pruned(figure, [trial.number for trial, _ in pruned], pruned)
    return figure


def _with_pruned_slices(figure: go.Figure, study: optuna.Study) -> go.Figure:
    pruned = _pruned(study)
    is_new = True  # show one legend entry only
    for axis in list(figure.select_xaxes()):
        key = axis.title.text
        of = [(trial, value) for trial, value in pruned if key in trial.params]
        if of:
            xs = [trial.params[key] for trial, _ in of]
            # Optuna labels a categorical axis with the repr of each choice.
            is_choice = axis.type == "category"
            number = axis.plotly_name.removeprefix("xaxis")
            _add_pruned(
                figure,
                [repr(x) for x in xs] if is_choice else xs,
                of,
                xaxis=f"x{number}",
                yaxis=f"y{number}",
                showlegend=is_new,
            )
            is_new = False
    return figure


def _parallel_coordinates(study: optuna.Study, chosen: Mapping[str, Any]) -> go.Figure:
    """Return Optuna's parallel coordinate plot, with pruned trials as grey dashed lines."""
    pruned = _pruned(study)
    if not pruned:
        return plot_parallel_coordinate(study, **chosen)
    figure = plot_parallel_coordinate(_with_scores(study, pruned), **chosen)
    # Optuna sorts the lines without naming their trials, but it draws dotted lines for infeasible
    # trials: the same plot with "not pruned" as the only constraint identifies pruned trials.
    marked = plot_parallel_coordinate(_with_scores(study, pruned, is_constraint=True), **chosen)
    for line, mark in zip(figure.data, marked.data, strict=False):
        if line.mode == "lines" and mark.line.dash == "dot" and mark.customdata is not None:
            line.update(line={"color": _PRUNED, "dash": "dash"})
    figure.add_scatter(
        x=[None], y=[None], mode="lines", name=PRUNED, line={"color": _PRUNED, "dash": "dash"},
        showlegend=True,
    )  # fmt: skip
    return figure


def _with_scores(
    study: optuna.Study, pruned: Sequence[tuple["FrozenTrial", float]], is_constraint: bool = False
) -> optuna.Study:
    """Return a copy with pruned trials as complete; with ``is_constraint`` they are infeasible."""
    made = optuna.create_study(directions=study.directions)
    values = {trial.number: value for trial, value in pruned}
    for trial in study.get_trials(deepcopy=False):
        is_pruned = trial.number in values
        if not is_pruned and trial.state is not TrialState.COMPLETE:
            continue
        made.add_trial(
            optuna.trial.create_trial(
                values=[values[trial.number]] if is_pruned else trial.values,
                params=trial.params,
                distributions=trial.distributions,
                constraints={"pruned": float(is_pruned)} if is_constraint else trial.constraints,
            )
        )
    return made


def learning_curves(study: optuna.Study, name: str) -> go.Figure:
    """Plot all trials' values by step, as pruned or failed, finished, and best.

    There is one trace per kind; Optuna's own figure has one per trial, in meaningless colours.
    """
    trials = [t for t in study.get_trials(deepcopy=False) if t.intermediate_values]
    best = study.best_trials[:1]
    kinds = {
        "pruned or failed": (_GREY, 1, [t for t in trials if t.state is not TrialState.COMPLETE]),
        "finished": (_BLUE, 1, [t for t in trials if t.state is TrialState.COMPLETE]),
        "best": (_ORANGE, 3, [t for t in best if t.intermediate_values]),
    }
    figure = go.Figure()
    for kind, (colour, width, replicates) in kinds.items():
        xs: list[float | None] = []
        ys: list[float | None] = []
        names: list[str] = []
        for trial in replicates:
            xs += [*trial.intermediate_values, None]  # a gap before the next trial's line
            ys += [*trial.intermediate_values.values(), None]
            number = trial.user_attrs.get(_NUMBER, trial.number)
            names += [f"trial {number}"] * (len(trial.intermediate_values) + 1)
        if replicates:
            figure.add_scatter(
                x=xs, y=ys, text=names, name=kind, mode="lines+markers", line_width=width,
                line_color=colour, marker_size=3 + width,
                hovertemplate="%{text}: %{y:.4f} at %{x}<extra></extra>",
            )  # fmt: skip
    return figure.update_layout(xaxis_title="epoch", yaxis_title=name, showlegend=True)


def _styled(figure: go.Figure) -> go.Figure:
    figure.update_traces(marker_color=_BLUE, selector={"type": "bar"})
    return figure.update_layout(
        template="plotly_white",
        colorway=[_BLUE, _ORANGE],
        title=None,
        width=None,  # set by the page
        height=440,
        margin={"l": 60, "r": 30, "t": 40, "b": 50},
        font={"family": "system-ui, sans-serif", "size": 13, "color": "#2b3036"},
    )


def _is_drawn(trial: "TrialInfo", objectives: int) -> bool:
    if trial.state is TrialState.COMPLETE:
        return len(trial.values) == objectives
    return trial.state.is_finished()


def _each(described: Mapping[str, Any]) -> list[Any]:
    """Return the distributions of one key; there are several if they depend on conditions."""
    return [described] if "attributes" in described else list(described.values())


def _wide_enough(several: Sequence[BaseDistribution], tried: Sequence[Any]) -> BaseDistribution:
    """Return one distribution that includes all of ``several`` and the ``tried`` values."""
    ranges = [d for d in several if not isinstance(d, CategoricalDistribution)]
    choices = [c for d in several if isinstance(d, CategoricalDistribution) for c in d.choices]
    numbers = [x for x in (*choices, *tried) if isinstance(x, int | float)]
    if not ranges or len(numbers) < len(choices) + len(tried):
        return CategoricalDistribution(list(dict.fromkeys([*choices, *tried])))
    assert all(isinstance(d, FloatDistribution | IntDistribution) for d in ranges)
    low = min([d.low for d in ranges] + numbers)  # type: ignore[attr-defined]
    high = max([d.high for d in ranges] + numbers)  # type: ignore[attr-defined]
    # A fixed value under another condition may be 0, which has no logarithm.
    log = low > 0 and all(d.log for d in ranges)  # type: ignore[attr-defined]
    # The steps are dropped: enqueued values need not lie on them.
    if all(isinstance(x, int) for x in (low, high, *numbers)):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)
