"""Where to keep a study: what reporting, asking and telling cost in each storage.

    python benchmarks/storages.py [report|engine] [STORAGE ...]

report  eight processes, each with a trial of its own in a study that has 1,000 finished ones: the
        time to open the study up to the first answer of the median pruner, then the median of
        report + should_prune, all eight without a pause
engine  the sweeper's own next + end around jobs that take no time, medians of the trials around the
        10th and of ten from the 1,000th on, with Optuna's random sampler and with TPE

The servers are the tests' own, on this machine; the gRPC proxy stands before an SQLite database.
"""

import contextlib
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import hydra
import optuna
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

FINISHED, STEPS, PROCESSES, REPORTS = 1000, 5, 8, 20
KEYS, SAMPLERS = "ab", ("random", "tpe")
STORAGES = ("journal", "sqlite", "postgresql", "mariadb", "grpc")

sys.path.append(str(Path(__file__).parents[1] / "tests"))


def main() -> None:
    """Measure both, everywhere."""
    words = sys.argv[1:]
    names = [word for word in words if word in STORAGES] or list(STORAGES)
    with tempfile.TemporaryDirectory() as folder:
        if "engine" not in words:
            measure_reports(names, Path(folder))
        if "report" not in words:
            measure_engine([name for name in names if name != "grpc"], Path(folder))


def figures() -> dict[str, float]:
    """Of the journal: milliseconds of a report, and the engine's ratio by sampler."""
    with tempfile.TemporaryDirectory() as folder:
        reports = measure_reports(["journal"], Path(folder))
        engine = measure_engine(["journal"], Path(folder))
    return {"report": reports["journal"], **{one: engine["journal", one] for one in SAMPLERS}}


@contextlib.contextmanager
def address_of(name: str, folder: Path) -> Iterator[str]:
    """An empty storage."""
    folder.mkdir(parents=True)
    if name == "journal":
        yield f"journal://{folder}/study.journal"
    elif name == "sqlite":
        yield f"sqlite:///{folder}/study.db"
    elif name == "grpc":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        proxy = multiprocessing.get_context("spawn").Process(
            target=serve, args=(f"sqlite:///{folder}/study.db", port), daemon=True
        )
        proxy.start()
        yield f"grpc://{port}"
        proxy.kill()
    else:
        from databases import SERVERS

        with SERVERS[name]() as server:
            yield server.new_database()


def serve(address: str, port: int) -> None:
    """Be the gRPC proxy."""
    from optuna.storages import run_grpc_proxy_server

    from harnest.study.storage.optuna_storage import open_storage

    run_grpc_proxy_server(open_storage(address), host="127.0.0.1", port=port)


def opened(address: str, first: bool = False):
    """Open as the sweeper does, or as its trials do."""
    from optuna.storages import GrpcStorageProxy

    from harnest.study.storage.optuna_storage import open_storage, reopen_storage

    if address.startswith("grpc"):
        proxy = GrpcStorageProxy(host="127.0.0.1", port=int(address.removeprefix("grpc://")))
        proxy.wait_server_ready(timeout=60)
        return proxy
    return open_storage(address) if first else reopen_storage(address)


def measure_reports(names: list[str], folder: Path) -> dict[str, float]:
    """Print a row for each storage; milliseconds of report + should_prune."""
    found = {}
    print(f"{PROCESSES} processes, {FINISHED} finished trials; seconds, milliseconds", flush=True)
    print(f"{'':12}{'open':>8}{'report + should_prune':>24}{'slowest in 100':>16}")
    for name in names:
        with address_of(name, folder / f"report-{name}") as address:
            fill(address, "s", FINISHED)
            context = multiprocessing.get_context("spawn")
            barrier, results = context.Barrier(PROCESSES), context.Queue()
            processes = [
                context.Process(target=report, args=(address, barrier, results))
                for _ in range(PROCESSES)
            ]
            for process in processes:
                process.start()
            opening, spans = zip(*[results.get() for _ in processes], strict=True)
            for process in processes:
                process.join()
        each = sorted(1000 * span for spans_of_one in spans for span in spans_of_one)
        found[name] = statistics.median(each)
        print(
            f"{name:12}{statistics.median(opening):>8.2f}{found[name]:>24.1f}"
            f"{each[int(0.99 * len(each))]:>16.1f}",
            flush=True,
        )
    return found


def fill(address: str, name: str, trials: int) -> None:
    """Add finished trials to a study."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = opened(address, first=True)
    study = optuna.create_study(study_name=name, storage=storage, load_if_exists=True)
    space = {key: optuna.distributions.FloatDistribution(0, 1) for key in KEYS}
    study.add_trials(
        optuna.trial.create_trial(
            params={
                key: (number * prime % 997) / 997 for key, prime in zip(space, (3, 5), strict=True)
            },
            distributions=space,
            value=number / FINISHED,
            intermediate_values={step: number / FINISHED + 1 / (step + 1) for step in range(STEPS)},
        )
        for number in range(trials)
    )


def report(address: str, barrier, results) -> None:
    """Be a trial."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    import sqlalchemy.orm  # noqa: F401  warm, as in a trial's process

    start = time.perf_counter()
    pruner = optuna.pruners.MedianPruner(n_warmup_steps=1)
    study = optuna.load_study(study_name="s", storage=opened(address), pruner=pruner)
    trial = study.ask()
    trial.report(0.0, 0)
    trial.should_prune()
    opening = time.perf_counter() - start
    barrier.wait()
    spans = []
    for step in range(1, REPORTS + 1):
        start = time.perf_counter()
        trial.report(0.0, step)
        trial.should_prune()
        spans.append(time.perf_counter() - start)
    results.put((opening, spans))


CONFIG = """
defaults:
  - _self_
  - override hydra/sweeper: study
  - override hydra/launcher: instant
{keys}
"""


def measure_engine(names: list[str], folder: Path) -> dict[tuple[str, str], float]:
    """Print rows for each storage; the late trials' time beside the early ones', by sampler."""
    found = {}
    print("next + end through the engine, milliseconds", flush=True)
    print(f"{'':12}{'':10}{'10th':>8}{'1,000th':>10}{'ratio':>8}")
    for name in names:
        place = folder / f"engine-{name}"
        with address_of(name, place) as address:
            early = {one: run_engine(place, address, one, one, 15)[5:] for one in SAMPLERS}
            fill(address, SAMPLERS[0], FINISHED - 25)
            for number, sampler in enumerate(SAMPLERS):
                trials = FINISHED + 10 * number
                late = run_engine(place, address, SAMPLERS[0], sampler, trials)[-10:]
                medians = [1000 * statistics.median(spans) for spans in (early[sampler], late)]
                found[name, sampler] = medians[1] / medians[0]
                print(
                    f"{name:12}{sampler:10}{medians[0]:>8.1f}{medians[1]:>10.1f}"
                    f"{found[name, sampler]:>8.1f}",
                    flush=True,
                )
    return found


def run_engine(folder: Path, address: str, study: str, sampler: str, trials: int) -> list[float]:
    """Sweep up to ``trials`` in all; seconds for each that was left."""
    keys = "\n".join(f"{key}: 0.0" for key in KEYS)
    (folder / "app.yaml").write_text(CONFIG.format(keys=keys))
    subprocess.run(
        [
            sys.executable,
            __file__,
            "-m",
            *(f"{key}=interval(0,1)" for key in KEYS),
            f"hydra.sweeper.study={study}",
            f"hydra/sweeper/sampler={sampler}",
            f"hydra.sweeper.n_trials={trials}",
            f"hydra.sweeper.storage={address}",
        ],
        cwd=folder,
        env=os.environ | {"STORAGES_CONFIG": str(folder)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    spans: list[float] = json.loads((folder / "spans.json").read_text())
    return spans


class Instant(Launcher):
    """A launcher whose jobs take no time."""

    capacity = 1

    def setup(self, **_) -> None:
        pass

    def launch(self, *_) -> list[JobReturn]:
        raise NotImplementedError

    def submit(self, overrides, number, member="", retry_of=None) -> "Future[JobReturn]":
        values = [float(o.partition("=")[2]) for o in overrides if o[:2] in ("a=", "b=")]
        returned = JobReturn(status=JobStatus.COMPLETED)
        returned.return_value = sum(values)
        done: Future[JobReturn] = Future()
        done.set_result(returned)
        return done

    def interrupt(self, *_) -> None:
        pass

    def close(self) -> None:
        pass


def sweep() -> None:
    """Be the application: its launcher returns at once, its engine is timed."""
    from harnest.study.manager import StudyManager

    Plugins.instance().register(Instant)
    ConfigStore.instance().store(
        group="hydra/launcher", name="instant", node={"_target_": "__main__.Instant"}
    )
    spans: list[float] = []

    def timed(method, starts: bool):
        def run(*args):
            start = time.perf_counter()
            result = method(*args)
            span = time.perf_counter() - start
            if starts:
                spans.append(span)
            else:
                spans[-1] += span
            return result

        return run

    StudyManager.next = timed(StudyManager.next, True)
    StudyManager.end = timed(StudyManager.end, False)
    StudyManager.broken = timed(StudyManager.broken, False)
    folder = os.environ["STORAGES_CONFIG"]
    trusted = ("harnest.*", "__main__.Instant")
    hydra.main(folder, "app", execution_whitelist=trusted)(lambda cfg: None)()
    Path(folder, "spans.json").write_text(json.dumps(spans[:-1]))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sweep() if "STORAGES_CONFIG" in os.environ else main()
