"""Studies whose trials are trained together: what each records, and what it scores."""

import mlflow
import optuna
import pytest

from commands import command

SMALL = (
    "trainer=cpu",
    "model.hidden_size=8",
    "data.batch_size=128",
    "hydra.launcher.cpu_slots=1",
    "hydra.sweeper.max_failure_rate=1",
)

pytestmark = pytest.mark.slow  # seconds each, for all that a trial records


def swept(folder, study, *arguments, code=0):
    """Sweep in ``folder``; gives Optuna's trials and MLflow's runs by name."""
    answer = command("train", "-m", f"hydra.sweeper.study={study}", *arguments, folder=folder)
    assert answer.code == code, answer
    journal = optuna.storages.journal.JournalFileBackend(
        str(folder / "multirun" / study / "study.journal")
    )
    trials = optuna.load_study(
        study_name=study, storage=optuna.storages.JournalStorage(journal)
    ).trials
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    found = client.search_runs([client.get_experiment_by_name("harnest").experiment_id])
    (parent,) = (run for run in found if run.info.run_name == study)
    children = {
        run.info.run_name: run
        for run in found
        if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
    }
    return client, trials, children


def artifacts(client, run, folder=None):
    """Names of all that a run keeps, but for what only one of two runs can have."""
    for item in client.list_artifacts(run.info.run_id, folder):
        yield from artifacts(client, run, item.path) if item.is_dir else [item.path]


def test_a_packed_study_is_the_study_that_it_would_be_on_slots(tmp_path):
    """With one trial that the pruner stops, and one that diverges."""
    options = (
        *SMALL,
        "trainer.max_epochs=3",
        "optimizer.lr=1e-4,1e-2,3e-2,1e30",
        "model.dropout=0.0,0.4",
        "hydra/sweeper/pruner=threshold",
        "hydra.sweeper.pruner.upper=0.25",
    )
    client, expected, runs = swept(tmp_path, "single", *options)
    _, trials, packed_runs = swept(
        tmp_path, "together", "hydra/launcher=packed", "hydra.launcher.pack=8", *options
    )
    assert {trial.state.name for trial in expected} == {"COMPLETE", "PRUNED", "FAIL"}
    assert packed_runs.keys() == runs.keys() == {f"trial-{number}" for number in range(8)}
    for one, other in zip(trials, expected, strict=True):
        assert one.params == other.params
        assert one.state == other.state
        assert one.user_attrs.get("reason") == other.user_attrs.get("reason")
        assert one.user_attrs.get("pruned_at") == other.user_attrs.get("pruned_at")
        assert one.intermediate_values == pytest.approx(other.intermediate_values, abs=1e-3)
        assert one.values == (other.values and pytest.approx(other.values, abs=1e-3))

        name = f"trial-{one.number}"
        run, wanted = packed_runs[name], runs[name]
        assert run.info.status == wanted.info.status
        params = {
            key: text.replace("/together/", "/single/") for key, text in run.data.params.items()
        }
        assert params == wanted.data.params
        assert run.data.metrics.keys() == wanted.data.metrics.keys()
        assert run.data.tags.keys() == wanted.data.tags.keys()
        kept = sorted(artifacts(client, run))
        assert kept == sorted(artifacts(client, wanted))
        assert "checkpoints/best.ckpt" in kept
        for metric in ("train/loss", "val/accuracy", "lr"):
            values = [
                [m.value for m in client.get_metric_history(each.info.run_id, metric)]
                for each in (run, wanted)
            ]
            assert values[0] == pytest.approx(values[1], abs=1e-3, rel=1e-3, nan_ok=True)

        files = [
            sorted(
                str(file.relative_to(folder))
                for file in folder.rglob("*")
                if file.is_file() and file.suffix != ".json"
            )
            for folder in (
                tmp_path / "multirun" / s / str(one.number) for s in ("together", "single")
            )
        ]
        assert files[0] == files[1]
    log = tmp_path / "multirun" / "together"
    for trial in trials:
        said = (log / str(trial.number) / "train.log").read_text()
        others = [f"multirun/together/{t.number}" for t in trials if t is not trial]
        assert not any(other in said for other in others)


@pytest.mark.parametrize("launcher", ["slots", "packed"])
def test_a_study_of_the_training_loss_is_pruned_by_it(tmp_path, launcher):
    """Although there are validation subjects."""
    options = (
        *("objective.metric=train/loss", "optimizer.lr=1e-4,1e-2", "trainer.max_epochs=3"),
        *("hydra/sweeper/pruner=threshold", "hydra.sweeper.pruner.upper=1.9"),
        "+hydra.sweeper.pruner.n_warmup_steps=1",
    )
    client, (slow, fast), runs = swept(
        tmp_path, "s", f"hydra/launcher={launcher}", *SMALL, *options
    )
    assert (slow.state.name, slow.user_attrs["pruned_at"]) == ("PRUNED", 1)
    assert fast.state.name == "COMPLETE"
    assert runs["trial-0"].info.status == "KILLED"
    for trial, epochs in ((slow, 2), (fast, 3)):
        run = runs[f"trial-{trial.number}"]
        history = client.get_metric_history(run.info.run_id, "train/loss")
        assert len(history) == epochs
        assert [trial.intermediate_values[epoch] for epoch in range(epochs)] == pytest.approx(
            [point.value for point in history]
        )
        kept = set(artifacts(client, run))
        assert "checkpoints/best.ckpt" in kept
        # Nobody looks at what was given up.
        assert ("figures/validation/confusion.png" in kept) == (trial is fast)
        model = tmp_path / "multirun" / "s" / str(trial.number) / "record" / "model"
        assert model.exists() == (trial is fast)
    (tmp_path / "a.csv").write_text("time,x\n0,1\n")
    for name in ("multirun/s/0", runs["trial-0"].info.run_id):
        answer = command("predict", name, "a.csv", folder=tmp_path)
        assert "was pruned" in answer.line


def test_each_architecture_has_packs_of_its_own_and_one_that_cannot_be_is_told(tmp_path):
    options = ("model=lstm,fcn,transformer", "optimizer.lr=1e-3,1e-2", "trainer.max_epochs=1")
    _, trials, _ = swept(tmp_path, "kinds", "hydra/launcher=packed", *SMALL, *options)
    ends = {}
    for trial in trials:
        end = (trial.state.name, trial.user_attrs.get("message"))
        ends.setdefault(trial.params["model"], set()).add(end)
    refused = (
        "ConfigError: Transformer cannot be packed: it holds MultiheadAttention; "
        "choose hydra/launcher=slots",
    )
    assert ends == {
        "lstm": {("COMPLETE", None)},
        "fcn": {("COMPLETE", None)},
        "transformer": {("FAIL", *refused)},
    }


def test_seeds_of_one_trial_are_trained_together(tmp_path):
    options = ("seeds=3", "optimizer.lr=1e-2,3e-2", "trainer.max_epochs=1")
    _, expected, _ = swept(tmp_path, "single", *SMALL, *options)
    _, trials, _ = swept(tmp_path, "together", "hydra/launcher=packed", *SMALL, *options)
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 2
    for one, other in zip(trials, expected, strict=True):
        assert one.values == pytest.approx(other.values, abs=1e-3)
    for trial in trials:
        folders = (tmp_path / "multirun" / "together" / str(trial.number)).glob("*/checkpoints")
        assert len(list(folders)) == 3
