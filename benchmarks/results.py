"""Makes the tables of docs/results.md from recorded runs, and the runs that are not recorded yet.

    python benchmarks/results.py [--hapt ARCHIVE] [--seeds N] [--minutes M] [ENTRY ...]

Each entry is trained with each seed, on all subjects who are not tested, by a recipe that was
settled before, and then tested: nothing is chosen by the subjects who are scored. HAPT's are its
authors'; watch's are each of five folds in turn. A run is recorded in MLflow and looked up there
the next time: nothing is trained twice with the same config, nor tested twice.

Without --hapt, HAPT's entries are read from the record alone. With --minutes no run starts after so
many; the same command goes on. Names of entries restrict what is trained, never what is shown.
"""

import argparse
import hashlib
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf
from page import put

from harnest.core.paths import CONFIG_DIR

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
EXPERIMENT = "results"
FOLDS = 5
ENTRY, CONFIG = "result", "result.config"
MACRO_F1, ACCURACY, SUBJECT = "test/macro_f1", "test/accuracy", "test/subject/"
PARAMETERS, SECONDS = "parameters", "training_seconds"

#: All who are not tested are trained on, to the last epoch of the recipe.
PROTOCOL = (
    "data.validation=null",
    "objective.metric=train/loss",
    "objective.mode=min",
    "++callbacks.early_stopping=null",
    "trainer.accelerator=cpu",
    f"logger.mlflow.experiment={EXPERIMENT}",
)


@dataclass(frozen=True)
class Entry:
    """A line of a table: what is trained, and on what."""

    name: str
    data: str
    overrides: tuple[str, ...]

    @property
    def command(self) -> str:
        """What trains it, as it would be typed."""
        return " ".join(("harnest-train", *self.overrides))


#: The same score in half the time: docs/models.md.
HALF = "trainer.precision=auto"
ENTRIES = (
    Entry("MiniRocket", "hapt", ("experiment=hapt_minirocket",)),
    Entry("CNN-LSTM", "hapt", ("experiment=hapt_cnn_lstm",)),
    Entry("two LSTMs of 128 units", "hapt", ("experiment=baseline_lstm", HALF)),
    Entry("FCN", "hapt", ("data=hapt", "model=fcn", HALF)),
    Entry("BiLSTM with attention", "hapt", ("experiment=hapt_bilstm", HALF)),
    Entry("ResNet", "hapt", ("data=hapt", "model=resnet", HALF)),
    Entry("MiniRocket", "watch", ("experiment=watch_minirocket",)),
    Entry("FCN", "watch", ("data=watch", "model=fcn", HALF)),
    Entry("LSTM", "watch", ("data=watch", "model=lstm", HALF)),
)


@dataclass(frozen=True)
class Job:
    """One run of an entry: a seed, and for watch a fold."""

    entry: Entry
    seed: int
    cfg: DictConfig

    @property
    def identity(self) -> str:
        """Digest of all in the config that a score may depend on; where files lie is no part."""
        plain = OmegaConf.to_container(self.cfg, resolve=False)
        assert isinstance(plain, dict)
        kept = {key: value for key, value in plain.items() if key not in ("logger", "hydra")}
        kept["data"] = {**kept["data"], "archive": None, "root": None, "cache": None}
        kept["callbacks"] = {**kept["callbacks"], "resource_monitor": None}
        return hashlib.sha256(OmegaConf.to_yaml(OmegaConf.create(kept)).encode()).hexdigest()


def jobs_of(entry: Entry, seeds: int, more: Sequence[str]) -> Iterator[Job]:
    """The runs that ``entry`` is made of, seed by seed."""
    from hydra import compose, initialize_config_dir

    from harnest.har.data.folds import folds

    with initialize_config_dir(str(CONFIG_DIR)):
        cfg = compose("train", [*entry.overrides, *PROTOCOL, *more])
    tests: list[object] = [cfg.data.test]
    if entry.data == "watch":
        everyone = range(1, 11)
        tests = [list(fold) for fold in folds(everyone, FOLDS, seed=cfg.data.split_seed)]
    for seed in range(seeds):
        for test in tests:
            one = cfg.copy()
            one.seed, one.data.test = seed, test
            yield Job(entry, seed, one)


def recorded(client: "MlflowClient", group: str, job: Job) -> "MlflowRun | None":
    """The finished run of ``job``, where there is one."""
    condition = f"tags.`{CONFIG}` = '{job.identity}' AND attributes.status = 'FINISHED'"
    found = client.search_runs([group], condition, max_results=1)
    return found[0] if found else None


def make(client: "MlflowClient", group: str, job: Job) -> None:
    """Train ``job`` unless it was, test it unless it was."""
    from harnest.har.evaluation import test_predictions
    from harnest.har.predictions import confusion, macro_f1
    from harnest.tracking.load_run import load_run
    from harnest.tracking.run_writer import RunWriter
    from harnest.training.retrain import retrain

    run = recorded(client, group, job)
    if run is None:
        name = f"{job.entry.data} {job.entry.name} seed {job.seed}"
        tags = {ENTRY: f"{job.entry.data} {job.entry.name}", CONFIG: job.identity}
        began = time.process_time()
        retrain(job.cfg, name=name, address=client.tracking_uri, tags=tags)
        seconds = time.process_time() - began
        run = recorded(client, group, job)
        assert run is not None
        RunWriter(client, run.info.run_id, owned=False).metrics({SECONDS: seconds}, step=0)
    if MACRO_F1 in run.data.metrics:
        return
    checkpoint = load_run(run.info.run_id, client.tracking_uri).checkpoint
    classifier, judged = test_predictions(job.cfg, checkpoint)
    matrix = confusion(judged.labels, judged.predicted, len(judged.activities))
    values = {
        ACCURACY: float((judged.labels == judged.predicted).mean()),
        PARAMETERS: float(sum(weight.numel() for weight in classifier.parameters())),
        MACRO_F1: macro_f1(matrix),
    }
    for subject in sorted(set(judged.subjects.tolist())):
        own = judged.subjects == subject
        one = confusion(judged.labels[own], judged.predicted[own], len(judged.activities))
        values[f"{SUBJECT}{subject}"] = macro_f1(one)
    RunWriter(client, run.info.run_id, owned=False).metrics(values, step=0)
    print(f"{run.info.run_name}: macro-F1 {values[MACRO_F1]:.4f}", flush=True)


def row(client: "MlflowClient", group: str, entry: Entry, jobs: Sequence[Job]) -> str:
    """The line of ``entry``: of the seeds that are complete, means and deviations over seeds."""
    by_seed: dict[int, list[Mapping[str, float] | None]] = {}
    for job in jobs:
        run = recorded(client, group, job)
        metrics = None if run is None or MACRO_F1 not in run.data.metrics else run.data.metrics
        by_seed.setdefault(job.seed, []).append(metrics)
    seeds = [[m for m in runs if m] for runs in by_seed.values() if all(runs)]
    if not seeds:
        return f"| {entry.name} | not measured yet | | | | | | `{entry.command}` |"
    subjects: dict[str, list[float]] = {}
    for one in (metrics for runs in seeds for metrics in runs):
        for name, value in one.items():
            if name.startswith(SUBJECT):
                subjects.setdefault(name, []).append(value)
    each = [statistics.fmean(values) for values in subjects.values()]
    seconds = statistics.fmean(m[SECONDS] for runs in seeds for m in runs)
    cells = (
        entry.name,
        spread([statistics.fmean(m[MACRO_F1] for m in runs) for runs in seeds]),
        spread([statistics.fmean(m[ACCURACY] for m in runs) for runs in seeds]),
        f"{min(each):.3f} to {max(each):.3f}",
        str(len(seeds)),
        f"{seeds[0][0][PARAMETERS]:,.0f}".replace(",", " "),
        f"{seconds:.0f} s",
        f"`{entry.command}`",
    )
    return f"| {' | '.join(cells)} |"


def spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation."""
    mean = f"{statistics.fmean(values):.4f}"
    return f"{mean} ± {statistics.stdev(values):.4f}" if len(values) > 1 else mean


HEAD = (
    "| entry | macro-F1 | accuracy | macro-F1 by subject | seeds | parameters | time | made by |",
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
)


def main() -> None:
    """Train and test what is missing, then write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "entries", nargs="*", metavar="ENTRY", help="as hapt/FCN; all, unless named"
    )
    parser.add_argument("--hapt", type=Path, metavar="ARCHIVE", help="HAPT's zip file")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="seeds (default: 5)")
    parser.add_argument("--minutes", type=float, metavar="M", help="start no run after so many")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE", help="what is written")
    parser.add_argument("--store", default="sqlite:///mlflow.db", metavar="URI", help="MLflow's")
    parser.add_argument(
        "--override", action="append", default=[], metavar="KEY=VALUE", help="for every entry"
    )
    arguments = parser.parse_args()
    from harnest.tracking.store import experiment_id, open_store

    client = open_store(arguments.store)
    group = experiment_id(client, EXPERIMENT)
    names = {f"{entry.data}/{entry.name}" for entry in ENTRIES}
    if unknown := sorted(set(arguments.entries) - names):
        parser.error(
            f"no entry is called {', '.join(unknown)}; there are {', '.join(sorted(names))}"
        )
    began = time.monotonic()
    tables: dict[str, list[str]] = {}
    for entry in ENTRIES:
        more = list(arguments.override)
        if entry.data == "hapt" and arguments.hapt is not None:
            more.append(f"data.archive='{arguments.hapt.absolute()}'")
        jobs = list(jobs_of(entry, arguments.seeds, more))
        is_wanted = not arguments.entries or f"{entry.data}/{entry.name}" in arguments.entries
        if is_wanted and (entry.data != "hapt" or arguments.hapt is not None):
            for job in jobs:
                minutes = (time.monotonic() - began) / 60
                if arguments.minutes is None or minutes < arguments.minutes:
                    make(client, group, job)
        tables.setdefault(entry.data, []).append(row(client, group, entry, jobs))
    for data, rows in tables.items():
        put(arguments.page, data, (*HEAD, *rows))


if __name__ == "__main__":
    main()
