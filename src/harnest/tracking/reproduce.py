"""Loads what is needed to repeat a recorded run: its config, its score and its origin."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from harnest.core.errors import TrackingError
from harnest.tracking.find_runs import experiment_id_of, find_by_id, find_run, is_study
from harnest.tracking.run_writer import OBJECTIVE
from harnest.tracking.store import open_existing
from harnest.tracking.study_record import PARENT

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

_COMMIT, _STATE = "mlflow.source.git.commit", "git.state"
_WORDS = {_COMMIT: "commit", "data.digest": "data digest"}
_MACHINE = ("system", "device", "precision", "threads")


@dataclass(frozen=True)
class OriginalRun:
    """A run to repeat; ``run`` is None if it was not recorded in MLflow."""

    name: str
    cfg: DictConfig
    run: "MlflowRun | None"

    @property
    def score(self) -> float | None:
        """The recorded score; None if the run is not recorded as FINISHED or has no score."""
        if self.run is None or self.run.info.status != "FINISHED":
            return None
        metrics = self.run.data.metrics
        score = metrics.get(OBJECTIVE, metrics.get(f"{OBJECTIVE}_0"))  # the first of several
        return None if score is None else float(score)


def load_original(name: str, address: str, experiment: str) -> OriginalRun:
    """Find a run to repeat and load its config.

    Args:
        name: The run's directory, its name, its MLflow run ID, or a prefix of the ID.
        address: Address of the MLflow store.
        experiment: Name of the experiment to search by name or directory.

    Raises:
        TrackingError: No run matches, the match is a study or has several replicates, or its
            config was not recorded.
    """
    file = Path(name) / ".hydra" / "config.yaml"
    if file.is_file() and "mlflow" not in (_load(file).get("logger") or {}):
        return OriginalRun(name, _load(file), None)
    client = open_existing(address)
    run = find_by_id(client, name)  # in any experiment
    if run is None:
        run = find_run(client, experiment_id_of(client, experiment), name)
    if is_study(run):
        best = run.data.tags.get("best.trial", "trial-0").removeprefix("trial-")
        trial = Path(run.data.tags.get("directory", name)) / best
        raise TrackingError(f"{name} is a study: name one of its trials, {trial} for example")
    inside = f"tags.`{PARENT}` = '{run.info.run_id}'"
    replicates = client.search_runs([run.info.experiment_id], inside, max_results=1)
    if replicates:
        replicate = replicates[0].data.tags.get("directory", replicates[0].info.run_id)
        raise TrackingError(f"{name} has several runs: name one of them, {replicate} for example")
    return OriginalRun(str(run.info.run_name), config_of(client, run), run)


def config_of(client: "MlflowClient", run: "MlflowRun") -> DictConfig:
    """Return a recorded run's config, ready to be composed for another directory.

    Raises:
        TrackingError: The config was not recorded.
    """
    from mlflow.exceptions import MlflowException

    directory = run.data.tags.get("directory", "")
    file = Path(directory) / ".hydra" / "config.yaml"
    if directory and file.is_file():
        return _load(file)
    try:
        text = Path(client.download_artifacts(run.info.run_id, "config.yaml")).read_text()
    except (MlflowException, OSError) as error:
        raise TrackingError(f"the config of run {run.info.run_id} was not recorded") from error
    # The recorded config is resolved, so it contains the old directory.
    if directory:
        text = text.replace(directory, "${hydra:runtime.output_dir}")
    config = OmegaConf.create(text)
    assert isinstance(config, DictConfig)
    return config


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Describe the differences between two runs' tags that may affect a score.

    Args:
        before: Tags of the original run.
        now: Tags of the repetition. Except for the commit, tags missing here are not compared.

    Returns:
        One phrase per difference in code, data, machine or packages.
    """
    keys = [_COMMIT, "data.digest", *_MACHINE]
    keys += sorted(key for key in now if key.startswith("version."))
    differ = [
        f"{_WORDS.get(key, key.removeprefix('version.'))} was {_short(before.get(key))}, "
        f"is {_short(now.get(key))}"
        for key in keys
        if before.get(key) != now.get(key) and (key in now or key == _COMMIT)
    ]
    changed = [tags[_STATE] for tags in (before, now) if tags.get(_STATE, "clean") != "clean"]
    if changed:
        differ.append(f"the code had uncommitted changes ({', '.join(changed)})")
    return differ


def _short(text: str | None) -> str:
    return "none" if text is None else text[:12]


def _load(file: Path) -> DictConfig:
    config = OmegaConf.load(file)
    assert isinstance(config, DictConfig)
    return config
