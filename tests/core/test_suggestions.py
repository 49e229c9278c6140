"""A mistyped name is answered with those that exist."""

import pytest

from harnest.core.suggestions import all_keys, did_you_mean, group_choices

VALID = [
    "seed",
    "model",
    "model.hidden_size",
    "model.layers",
    "trainer.max_epochs",
    "objective.mode",
]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("modle", "; did you mean model?"),
        ("model.hiden_size", "; did you mean model.hidden_size?"),
        ("hidden_size", "; did you mean model.hidden_size?"),
        ("modle.layers", "; did you mean model.layers?"),
        ("trainer.epochs", "; did you mean trainer.max_epochs?"),
        ("trainer.nosuch", ""),
        ("xyz", ""),
    ],
)
def test_the_nearest_name_is_offered(name, meant):
    assert did_you_mean(name, VALID) == meant


@pytest.fixture
def typed(monkeypatch):
    """Set the command line."""
    return lambda *arguments: monkeypatch.setattr("sys.argv", ["harnest-train", *arguments])


def test_keys_are_those_of_the_choices_on_the_command_line(typed):
    typed("data.window=2")
    plain = set(all_keys())
    assert {"seed", "data", "data.window", "model.hidden_size", "data.source._target_"} <= plain
    assert "data.activities" not in plain
    typed("data=hapt", "optimizer=sgd", "data.actvities=6")
    chosen = set(all_keys())
    assert {"data.activities", "optimizer.momentum"} <= chosen
    typed("data=nosuch")
    assert set(all_keys()) == plain


@pytest.mark.parametrize(
    "flag", [["--config-dir", "FOLDER"], ["-cd", "FOLDER"], ["--config-dir=FOLDER"]]
)
def test_keys_and_choices_of_a_folder_of_ones_own_are_known(typed, tmp_path, flag):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/conv.yaml").write_text("_target_: mylab.Conv\nwidth: 3\n")
    typed(*(part.replace("FOLDER", str(tmp_path)) for part in flag), "model=conv")
    assert "model.width" in all_keys()
    assert "conv" in group_choices("model")
    typed("model=conv")
    assert "conv" not in group_choices("model")
