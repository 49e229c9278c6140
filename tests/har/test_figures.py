"""Figures of predictions: each as a picture and as a plot on a page that needs nothing else."""

import base64
import json
import re
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.image import imread

from harnest.har.figures import draw
from harnest.reporting.page import page
from made_predictions import HISTORY, figures_in, made_predictions


def test_each_figure_is_a_picture_and_a_plot(tmp_path):
    files = draw(made_predictions([0, 1, 2, 0, 1, 2, 0], [0, 1, 2, 1, 1, 0, 0]), HISTORY, tmp_path)
    assert set(files) == set(tmp_path.iterdir())
    names = {file.stem for file in files if file.suffix == ".png"}
    assert names == {"confusion", "per_class", "per_subject", "samples", "curves"}
    for name in names:
        picture = imread(tmp_path / f"{name}.png")[..., :3]
        assert picture.min() < 0.5 < picture.max()  # something is drawn
    plots = figures_in(tmp_path)
    assert set(plots) == names
    assert plots["confusion"]["data"][0]["text"] == [[2, 1, 0], [0, 2, 0], [1, 0, 1]]
    subjects = plots["per_subject"]["data"][0]
    assert subjects["x"] == ["1 (3)", "2 (2)", "3 (2)"]
    assert subjects["y"] == pytest.approx([2 / 3, 1.0, 0.5])
    assert plots["curves"]["data"][0]["y"] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])


def test_curves_mark_the_epoch_that_is_kept(tmp_path):
    one = made_predictions([0, 1, 2], [0, 1, 2])
    draw(one, HISTORY, tmp_path / "without")
    draw(one, HISTORY, tmp_path / "with", 2)
    marks = [d for d in figures_in(tmp_path / "with")["curves"]["data"] if d["x"] == [2, 2]]
    assert [mark["name"] for mark in marks] == ["kept: epoch 2"] * 3
    assert {mark["xaxis"] for mark in marks} == {"x1", "x2", "x3"}
    assert marks[0]["y"] == [1 / 4, 1]  # over the whole curve
    assert "kept" not in json.dumps(figures_in(tmp_path / "without")["curves"])
    pictures = [imread(tmp_path / name / "curves.png") for name in ("with", "without")]
    assert not np.array_equal(*pictures)


def test_sample_windows_have_their_time_in_seconds(tmp_path):
    draw(made_predictions([0, 1, 2] * 3, [0, 1, 2] * 3), HISTORY, tmp_path)
    samples = figures_in(tmp_path)["samples"]
    for number in range(1, 7):
        assert samples["layout"][f"xaxis{number}"]["title"]["text"] == "time [s]"
    assert samples["data"][0]["x"][:2] == [0, 1 / 25]
    assert samples["data"][0]["x"][-1] == 49 / 25


def test_the_surest_mistakes_are_shown_first(tmp_path):
    one = made_predictions([0, 1, 2, 0, 1, 2, 0], [0, 1, 2, 1, 1, 0, 0])
    one.probabilities[5] *= 1.2
    draw(one, {}, tmp_path)
    told = [note["text"] for note in figures_in(tmp_path)["samples"]["layout"]["annotations"]]
    assert told[:2] == ["subject 3: walk 96%<br>is sit", "subject 1: run 80%<br>is walk"]
    assert len(told) == 6
    assert "curves.png" not in {file.name for file in tmp_path.iterdir()}  # it had no training


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(1, 9), st.integers(1, 12), st.integers(2, 12))
def test_any_number_of_windows_channels_and_activities(tmp_path, windows, channels, activities):
    names = tuple(f"activity <{number}>" for number in range(activities))
    labels = [number % activities for number in range(windows)]
    one = made_predictions(labels, [0] * windows, names, channels)
    assert len(draw(one, HISTORY, tmp_path)) == 6


def test_a_page_is_whole_and_asks_nobody():
    text = page("a < b", {"one": {"data": [], "layout": {"title": {"text": "</script><b>"}}}})
    assert "a &lt; b" in text
    library = re.search(r'<script id="plotly"[^>]*>(.*?)</script>', text, re.DOTALL)[1]
    assert b"plotly.js v" in zlib.decompress(base64.b64decode(library))[:200]
    rest = text.replace(library, "")
    assert not re.search(r"(src|href)=", rest)
    assert rest.count("</script>") == 3


def test_a_page_fits_a_frame_of_any_size(tmp_path):
    """Titles are the page's text, which wraps; no size of its own is wider than a narrow frame."""
    draw(made_predictions([0, 1, 2] * 3, [0, 1, 2] * 3), HISTORY, tmp_path)
    figures = figures_in(tmp_path)
    text = (tmp_path / "figures.html").read_text()
    for figure in figures.values():
        assert f"<h2>{figure['layout']['title']['text']}</h2>" in text
        assert {"width", "height"}.isdisjoint(figure["layout"])
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert not re.search(r"[^-]width:|\d(vh|vw)", style)
    assert "responsive: true" in text
