"""The public API: what a script or notebook imports from harnest."""

import subprocess
import sys

import optuna
import pytest
from hydra.core.hydra_config import HydraConfig

import harnest
from harnest.core.errors import ConfigError, StudyError

SMALL = ["trainer=cpu", "model.hidden_size=8", "data.batch_size=128", "trainer.max_epochs=2"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    HydraConfig.instance().cfg = None


def test_importing_it_imports_nothing_heavy():
    code = (
        "import sys, harnest\n"
        "assert harnest.compose(['model=gru']).model._target_.endswith('GRU')\n"
        "print(sorted({'torch', 'pytorch_lightning', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_name_of_it_is_there():
    for name in harnest.__all__:
        assert getattr(harnest, name) is not None
    assert set(harnest.__all__) <= set(dir(harnest))
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        _ = harnest.nosuch


@pytest.mark.xdist_group("workplace")
def test_a_run_has_the_score_of_the_command(folder, workplace):
    """`workplace` is trained by commands."""
    arguments = sys.argv[:]
    done = harnest.train([*SMALL, "optimizer.lr=3e-3"])
    assert sys.argv == arguments
    (run,) = harnest.leaderboard([str(done.directory)]).rows
    assert run.scores == (done.score,)
    theirs = harnest.leaderboard(
        [str(workplace.run)], tracking_uri=f"sqlite:///{workplace.folder}/mlflow.db"
    )
    assert theirs.rows[0].scores == (done.score,)
    assert (done.directory / "train.log").is_file()
    model = harnest.load_model(done.directory)
    assert model.metadata.metadata["data_set"] == "watch"


@pytest.mark.xdist_group("workplace")
def test_a_sweep_returns_its_trials_and_resumes(folder, workplace):
    overrides = ["hydra.sweeper.study=pair", "optimizer.lr=1e-4,1e-2", *SMALL]
    swept = harnest.sweep(overrides)
    assert (swept.name, swept.is_complete) == ("pair", True)
    assert swept.directory.resolve() == folder / "multirun" / "pair"
    assert [trial.params for trial in swept.trials] == [
        {"optimizer.lr": 1e-4},
        {"optimizer.lr": 1e-2},
    ]
    assert swept.best == max(swept.trials, key=lambda trial: trial.values)
    assert harnest.sweep(overrides) == swept  # nothing was left to run
    theirs = harnest.load_study(workplace.study)
    assert [trial.values for trial in theirs.trials] == [list(one.values) for one in swept.trials]
    ours = harnest.load_study("pair")
    assert isinstance(ours, optuna.Study)
    assert list(ours.trials_dataframe()["params_optimizer.lr"]) == [1e-4, 1e-2]
    table = harnest.leaderboard(["pair"]).dataframe()
    assert sorted(table["optimizer.lr"]) == ["0.0001", "0.01"]
    assert table["score"].iloc[0] == swept.best.values[0]


def test_what_cannot_be_used_is_one_error_and_leaves_nothing(folder):
    for overrides in (["nosuch=1"], ["model=nosuch"], ["seed=-1"], ["seed=x"]):
        with pytest.raises(ConfigError):
            harnest.train(overrides)
    with pytest.raises(ConfigError, match="nothing is searched"):
        harnest.sweep([])
    with pytest.raises(StudyError, match="nosuch is not a study"):
        harnest.load_study("nosuch")
    assert not [path for path in folder.rglob("*") if path.is_file()]


USER = """
import harnest

run: harnest.RunResult = harnest.train(["trainer.max_epochs=1"])
score: float = run.score
study: harnest.StudyResult = harnest.sweep(["sweep=quick"])
if study.best is not None:
    values: tuple[float, ...] = study.best.values
harnest.load_study("quick").trials_dataframe()
harnest.leaderboard(["quick"]).dataframe()
trial = harnest.current_trial()
if trial is not None:
    trial.report(0.5, 1)


class Follow(harnest.StudyCallback):
    pass


reveal_type(harnest.compose)
harnest.train("trainer.max_epochs=1", 3)
"""


@pytest.mark.slow
def test_a_users_mypy_sees_its_types(tmp_path):
    file = tmp_path / "user.py"
    file.write_text(USER)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", file],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    lines = [line for line in done.stdout.splitlines() if "user.py" in line]
    errors = [line for line in lines if ": error:" in line]
    assert len(errors) == 1, done.stdout  # the call with one argument too many
    assert "Too many arguments" in errors[0]
    (note,) = [line for line in lines if ": note:" in line]
    assert "DictConfig" in note
