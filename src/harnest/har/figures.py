"""Figures of predictions, each as a PNG and as an interactive plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harnest.har.predictions import Predictions, confusion, macro_f1, per_class
from harnest.reporting.page import Figure, page
from harnest.tracking.figure_worker import save_pending

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

#: A metric's steps and values.
Curve = Sequence[tuple[int, float]]

_SAMPLES = 6  # windows in the figure of samples
_DPI = 80
_MARK = "#d1603d"


def draw(
    predictions: Predictions, history: Mapping[str, Curve], folder: Path, kept: int | None = None
) -> list[Path]:
    """Write every figure as a PNG, and one HTML page with interactive plots of all.

    Args:
        predictions: The predictions.
        history: The metrics of the training by name; if empty, no learning curves are drawn.
        folder: The folder for the files; it is created if missing.
        kept: The epoch of the kept weights, which the learning curves mark; None marks none.

    Returns:
        The files written.
    """
    import matplotlib as mpl

    folder.mkdir(parents=True, exist_ok=True)
    # Text takes most of the time: without hinting a fifth less. An explicit y for each title saves
    # the search for its position. Math is off since a name may contain a dollar sign.
    with mpl.rc_context({"text.hinting": "none", "text.parse_math": False}):
        return _draw(predictions, history, folder, kept)


def save_to_draw(
    predictions: Predictions, history: Mapping[str, Curve], directory: Path, kept: int | None = None
) -> None:
    """Save the arguments of `draw`, for the study's figure process to draw.

    Args:
        predictions: The predictions.
        history: The metrics of the training by name.
        directory: The run's directory.
        kept: The epoch of the kept weights; None if none were kept.
    """
    arrays = {name: one for name, one in vars(predictions).items() if isinstance(one, np.ndarray)}
    facts = {name: one for name, one in vars(predictions).items() if name not in arrays}
    renderer = f"{__name__}.{draw_saved.__name__}"
    folder = f"figures/{predictions.part}"
    save_pending(directory, renderer, folder, arrays, {"facts": facts, "rest": [history, kept]})


def draw_saved(arrays: Mapping[str, Any], saved: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the figures saved by `save_to_draw` into ``folder``; return the files."""
    return draw(Predictions(**arrays, **saved["facts"]), saved["rest"][0], folder, saved["rest"][1])


def _draw(
    predictions: Predictions, history: Mapping[str, Curve], folder: Path, kept: int | None
) -> list[Path]:
    figures = {
        "confusion": _confusion(predictions),
        "per_class": _bars(predictions, "activity", *_scores_by_class(predictions)),
        "per_subject": _bars(predictions, "subject", *_scores_by_subject(predictions)),
        "samples": _samples(predictions),
    }
    if history:
        figures["curves"] = _curves(history, kept)
    for name, (picture, _) in figures.items():
        picture.savefig(folder / f"{name}.png", dpi=_DPI, pil_kwargs={"compress_level": 1})
    plots = {name: plot for name, (_, plot) in figures.items()}
    (folder / "figures.html").write_text(page(f"{predictions.data_set}, {predictions.part}", plots))
    return [*(folder / f"{name}.png" for name in figures), folder / "figures.html"]


def _new(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple["Picture", Any]:
    # Not pyplot, which keeps every figure in memory and may need a display.
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(width, height))
    axes = picture.subplots(rows, columns, squeeze=False)
    return picture, axes.ravel()


def _confusion(predictions: Predictions) -> tuple["Picture", Figure]:
    names = list(predictions.activities)
    matrix = confusion(predictions.labels, predictions.predicted, len(names))
    shares = matrix / matrix.sum(axis=1, keepdims=True).clip(min=1)
    title = f"{predictions.part}: {len(predictions.labels)} windows by true and predicted activity"
    picture, (axes,) = _new(2.5 + 0.6 * len(names), 2 + 0.5 * len(names))
    picture.subplots_adjust(left=0.3, bottom=0.3, right=0.97, top=0.9)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(matrix):
        if count > 0:
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=color)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(title, fontsize="medium", y=1)
    plot = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": shares.tolist(),
        "text": matrix.tolist(),
        "texttemplate": "%{text}",
        "colorscale": "Blues",
        "reversescale": True,
        "colorbar": {"thickness": 12},
        "zmin": 0,
        "zmax": 1,
        "hovertemplate": "%{y} taken for %{x}: %{text} windows, %{z:.1%}<extra></extra>",
    }
    layout = {
        "title": {"text": title},
        "xaxis": {"title": {"text": "predicted"}, "automargin": True},
        "yaxis": {"title": {"text": "true"}, "automargin": True, "autorange": "reversed"},
    }
    return picture, {"data": [plot], "layout": layout}


def _scores_by_class(predictions: Predictions) -> tuple[list[str], dict[str, NDArray[np.float64]]]:
    names = predictions.activities
    matrix = confusion(predictions.labels, predictions.predicted, len(names))
    support = matrix.sum(axis=1)
    labels = [f"{name} ({count})" for name, count in zip(names, support, strict=True)]
    return labels, per_class(matrix)


def _scores_by_subject(
    predictions: Predictions,
) -> tuple[list[str], dict[str, NDArray[np.float64]]]:
    classes = len(predictions.activities)
    names, accuracies, means = [], [], []
    for subject in np.unique(predictions.subjects):
        of = predictions.subjects == subject
        matrix = confusion(predictions.labels[of], predictions.predicted[of], classes)
        names.append(f"{subject} ({of.sum()})")
        accuracies.append(np.trace(matrix) / matrix.sum())
        means.append(macro_f1(matrix))
    return names, {"accuracy": np.array(accuracies), "macro-F1": np.array(means)}


def _bars(
    predictions: Predictions, what: str, names: list[str], scores: Mapping[str, NDArray[np.float64]]
) -> tuple["Picture", Figure]:
    title = f"{predictions.part}: scores by {what}, with its number of windows"
    picture, (axes,) = _new(max(6.0, 2 + 0.7 * len(names)), 4)
    picture.subplots_adjust(left=0.12, bottom=0.38, right=0.98, top=0.82)
    width = 0.8 / len(scores)
    for index, (name, values) in enumerate(scores.items()):
        places = np.arange(len(names)) + (index - (len(scores) - 1) / 2) * width
        axes.bar(places, np.nan_to_num(values), width, label=name)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set(ylim=(0, 1))
    axes.set_title(title, fontsize="medium", pad=24, y=1)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(scores), frameon=False)
    data = [
        {"type": "bar", "name": name, "x": names, "y": _json(values)}
        for name, values in scores.items()
    ]
    layout = {
        "title": {"text": title},
        "xaxis": {"type": "category", "automargin": True},
        "yaxis": {"range": [0, 1]},
    }
    return picture, {"data": data, "layout": layout}


def _curves(history: Mapping[str, Curve], kept: int | None) -> tuple["Picture", Figure]:
    names = ("loss", "accuracy", "macro_f1")
    picture, panels = _new(11, 3.4, columns=len(names))
    picture.subplots_adjust(left=0.05, bottom=0.15, right=0.99, top=0.9, wspace=0.18)
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {
        "title": {"text": "learning curves"},
        "grid": {"rows": 1, "columns": len(names), "pattern": "independent"},
    }
    for index, (name, axes) in enumerate(zip(names, panels, strict=True), start=1):
        for part, style, color in (("train", "--", "#1f77b4"), ("val", "-", "#ff7f0e")):
            curve = history.get(f"{part}/{name}", ())
            steps = [step for step, _ in curve]
            values = [value for _, value in curve]
            axes.plot(steps, values, style, marker=".", label=part)
            data.append(
                {
                    "name": part,
                    "x": steps,
                    "y": _json(values),
                    "xaxis": f"x{index}",
                    "yaxis": f"y{index}",
                    "mode": "lines+markers",
                    "line": {"dash": "dash" if part == "train" else "solid", "color": color},
                    "legendgroup": part,
                    "showlegend": index == 1,
                }
            )
        if kept is not None:
            axes.axvline(kept, color=_MARK, linestyle=":", label=f"kept: epoch {kept}")
            # A trace, unlike a shape, has a legend entry and can be hidden with a click.
            data.append(
                {
                    "name": f"kept: epoch {kept}",
                    "x": [kept, kept],
                    "y": _span(history, name),
                    "xaxis": f"x{index}",
                    "yaxis": f"y{index}",
                    "mode": "lines",
                    "line": {"dash": "dot", "color": _MARK},
                    "legendgroup": "kept",
                    "showlegend": index == 1,
                    "hovertemplate": f"the weights of epoch {kept} are kept<extra></extra>",
                }
            )
        axes.set(xlabel="epoch")
        axes.set_title(name, y=1)
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=5)
        axes.yaxis.get_major_locator().set_params(nbins=5)
        layout[f"xaxis{index}"] = {"title": {"text": f"epoch: {name}"}}
    panels[0].legend()
    return picture, {"data": data, "layout": layout}


def _span(history: Mapping[str, Curve], name: str) -> list[float]:
    """Return the smallest and the largest finite value of a metric's curves."""
    every = [value for part in ("train", "val") for _, value in history.get(f"{part}/{name}", ())]
    finite = [value for value in every if np.isfinite(value)]
    return [min(finite), max(finite)] if finite else [0.0, 1.0]


def _samples(predictions: Predictions) -> tuple["Picture", Figure]:
    from matplotlib.colors import TABLEAU_COLORS

    picked = _picked(predictions)
    colors = list(TABLEAU_COLORS.values())
    title = f"{predictions.part}: sample windows, the most confident errors first"
    picture, rows = _new(11, 6, rows=2)
    picture.subplots_adjust(left=0.05, right=0.99, bottom=0.15, top=0.9, hspace=0.38)
    picture.suptitle(title, fontsize="medium")
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {
        "title": {"text": title},
        "grid": {"rows": 2, "columns": _SAMPLES // 2, "pattern": "independent"},
        "annotations": [],
    }
    steps = predictions.signals.shape[1]
    times = np.arange(steps) / predictions.rate
    for index, sample in enumerate(picked, start=1):
        told = _told(predictions, int(sample))
        for number, channel in enumerate(predictions.channels):
            data.append(
                {
                    "name": channel,
                    "x": times.round(4).tolist(),
                    "y": predictions.signals[sample, :, number].astype(float).round(4).tolist(),
                    "xaxis": f"x{index}",
                    "yaxis": f"y{index}",
                    "mode": "lines",
                    "line": {"width": 1, "color": colors[number % len(colors)]},
                    "legendgroup": channel,
                    "showlegend": index == 1,
                }
            )
        place = {"xref": f"x{index} domain", "yref": f"y{index} domain", "x": 0.5, "y": 1}
        note = {"showarrow": False, "yanchor": "bottom", "font": {"size": 11}}
        layout["annotations"].append({"text": told.replace(", ", "<br>"), **note, **place})
        layout[f"xaxis{index}"] = {"title": {"text": "time [s]", "standoff": 4}}
    # All windows of a row share one pair of axes: six pairs take four times as long to draw.
    for axes, of in zip(rows, np.array_split(picked, 2), strict=True):
        if len(of) == 0:
            axes.set_axis_off()
            continue
        gap = np.full((len(of), steps // 10, len(predictions.channels)), np.nan, np.float32)
        row = np.concatenate([predictions.signals[of], gap], axis=1)
        axes.plot(row.reshape(-1, row.shape[2]), linewidth=0.9)
        begins = [number * row.shape[1] for number in range(len(of))]
        # The time of each window starts at 0.
        seconds = [0, steps / predictions.rate / 2, steps / predictions.rate]
        axes.set_xticks(
            [begin + second * predictions.rate for begin in begins for second in seconds],
            [f"{second:.3g}" for _ in begins for second in seconds],
            fontsize="small",
        )
        axes.set_xlabel("time [s]", fontsize="small", labelpad=1)
        for begin, sample in zip(begins, of, strict=True):
            axes.text(
                begin + steps / 2, 1.02, _told(predictions, int(sample)), fontsize="small",
                ha="center", va="bottom", transform=axes.get_xaxis_transform(),
            )  # fmt: skip
        axes.margins(x=0.01)
    picture.legend(
        rows[0].lines, predictions.channels, loc="lower center", ncols=10, fontsize="small"
    )
    return picture, {"data": data, "layout": layout}


def _picked(predictions: Predictions) -> NDArray[np.int64]:
    """Pick samples: half are the most confident errors, the others are evenly spaced windows."""
    certainty = predictions.probabilities.max(axis=1)
    wrong = np.flatnonzero(predictions.predicted != predictions.labels)
    surest = wrong[np.argsort(-certainty[wrong], kind="stable")][: _SAMPLES // 2]
    others = np.setdiff1d(np.arange(len(predictions.labels)), surest)
    count = min(_SAMPLES - len(surest), len(others))
    spread = others[np.linspace(0, len(others) - 1, count).astype(int)]
    return np.concatenate([surest, spread])


def _told(predictions: Predictions, sample: int) -> str:
    names = predictions.activities
    predicted = predictions.predicted[sample]
    sure = predictions.probabilities[sample, predicted]
    true = predictions.labels[sample]
    verdict = "" if true == predicted else f", is {names[true]}"
    return f"subject {predictions.subjects[sample]}: {names[predicted]} {sure:.0%}{verdict}"


def _json(values: Sequence[float] | NDArray[np.float64]) -> list[float | None]:
    """Convert to JSON numbers; NaN and infinity become None."""
    return [float(value) if np.isfinite(value) else None for value in values]
