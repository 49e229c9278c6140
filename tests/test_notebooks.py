"""The notebooks: clean in git, and executed from start to end as somebody who opens them does."""

import json
import re
import shutil
from pathlib import Path

import pytest

from limits import HANG_TIMEOUT

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SLOW = ("comparing", "training")

_PLOTLY = "application/vnd.plotly.v1+json"


def test_the_notebooks_are_there():
    assert [path.stem for path in NOTEBOOKS] == ["comparing", "exploration", "training"]


@pytest.mark.xdist_group("notebooks")  # to import nbformat takes seconds: in one process only
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_holds_neither_output_nor_anything_of_a_machine(path):
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.metadata
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert not re.search(r"/home/|/root/|/Users/|/work/|/tmp/|C:\\", path.read_text())


def executed(name, folder):
    """The notebook ``name`` after a run in ``folder``, as JupyterLab runs it: where it lies."""
    import nbformat
    from nbclient import NotebookClient

    place = folder / "notebooks"
    place.mkdir()
    copy = Path(shutil.copy(FOLDER / f"{name}.ipynb", place))
    notebook = nbformat.read(copy, as_version=4)
    client = NotebookClient(
        notebook, timeout=HANG_TIMEOUT, resources={"metadata": {"path": str(place)}}
    )
    client.execute()
    assert list(place.iterdir()) == [copy]  # what it writes belongs into the folder above
    return notebook


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def printed(notebook, stream="stdout"):
    return "".join(output.text for output in outputs(notebook) if output.get("name") == stream)


def charts(notebook):
    return [
        output.data[_PLOTLY] for output in outputs(notebook) if _PLOTLY in output.get("data", {})
    ]


@pytest.mark.slow
def test_exploration(tmp_path):
    notebook = executed("exploration", tmp_path)
    assert "140 recordings of 10 subjects" in printed(notebook)
    assert "2229 windows of 200 steps (4 s)" in printed(notebook)
    assert printed(notebook, "stderr") == ""
    recordings, windows, *balance, spectra = charts(notebook)
    assert len(recordings["layout"]["sliders"][0]["steps"]) == 14
    assert len(windows["layout"]["sliders"][0]["steps"]) == 7
    assert [len(chart["data"]) for chart in balance] == [3, 3]  # train, validation, test
    assert len(spectra["data"]) == 7 * 6
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_training(tmp_path):
    notebook = executed("training", tmp_path)
    assert printed(notebook, "stderr") == ""
    curves, *confusions = charts(notebook)
    assert {trace["name"] for trace in curves["data"]} == {"train", "val"}
    assert len(confusions) == 2
    alone, recorded = sorted((tmp_path / "outputs").glob("*/*"))
    assert (alone / "model.pt").is_file()
    assert not (alone / "record").exists()
    assert (recorded / "record" / "model" / "MLmodel").is_file()


@pytest.mark.slow
def test_comparing(tmp_path):
    notebook = executed("comparing", tmp_path)
    assert printed(notebook, "stderr") == ""
    assert "study small is complete" in printed(notebook)
    assert len(list((tmp_path / "multirun" / "small").glob("[0-9]"))) == 6
    history, *figures = charts(notebook)
    assert len(history["data"]) == 6 * 3
    assert len(figures) == 5
    assert json.dumps(figures[-1]).count("trial 0")  # the learning curves name their trials
