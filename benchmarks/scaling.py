"""Trials per minute: measured for the launchers that run here, simulated for more slots than that.

    python benchmarks/scaling.py measure [WAY ...]
    python benchmarks/scaling.py simulate STUDY [TRIALS]

measure   twelve real trials, a small LSTM for two passes over the watch recordings, from the first
          one's beginning to the last one's end: on one slot, on two, on two hosts of one slot each
          that share a PostgreSQL server of the tests', on submitit's local executor and on ray with
          two at once. Neither the start of the command counts, nor what it prints at its end
simulate  the same for 1 to 512 slots. Lengths are drawn, with repetition, from those of the trials
          of a finished study, the folder STUDY; trials are handed out one after the other, each
          `ASK` seconds long under the study's lock, and start `START` seconds after that. Slots
          never fail, never wait for data, and do not slow each other down. ``refilled`` takes a
          trial whenever a slot is free; ``batches`` waits until all of a batch have ended
"""

import contextlib
import heapq
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from harnest.study.storage.optuna_storage import journal_address, open_storage

PROGRAM = str(Path(sys.executable).with_name("harnest-train"))
TRIALS = 12
SLOTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
#: Seconds: to ask for a trial on PostgreSQL, at 1,000 (storages.py), and to start its process.
ASK, START = 0.05, 0.2

COMMAND = (
    *("-m", "hydra.sweeper.study=s", f"hydra.sweeper.n_trials={TRIALS}"),
    *("optimizer.lr=tag(log,interval(1e-4,1e-2))", "hydra/sweeper/sampler=random"),
    *("trainer=cpu", "trainer.max_epochs=2", "model.hidden_size=8", "logger=none"),
)
WAYS = {
    "one slot": ("hydra.launcher.cpu_slots=1",),
    "two slots": ("hydra.launcher.cpu_slots=2",),
    "two hosts": ("hydra.launcher.cpu_slots=1",),
    "submitit": ("hydra/launcher=submitit_local", "hydra.sweeper.batch=2"),
    "ray": ("hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2"),
}

sys.path.append(str(Path(__file__).parents[1] / "tests"))


def main() -> None:
    """Measure or simulate."""
    what, *words = sys.argv[1:] or ["measure"]
    if what == "simulate":
        show_simulated(lengths_of(Path(words[0])), int(words[1]) if words[1:] else 5000)
        return
    print(f"{'':12}{'trials/min':>12}")
    for way in words or WAYS:
        print(f"{way:12}{per_minute(measured(way)):>12.1f}", flush=True)


def measured(way: str) -> Sequence[FrozenTrial]:
    """The trials of a study that was run in this way."""
    with tempfile.TemporaryDirectory() as name, servers(way) as database:
        folder = Path(name)
        kept = () if database is None else ("hydra.sweeper.storage=${oc.env:KEPT}",)
        hosts = [folder / "one", folder / "two"] if way == "two hosts" else [folder]
        running = []
        for host in hosts:
            host.mkdir(exist_ok=True)
            command = [PROGRAM, *COMMAND, *kept, *WAYS[way]]
            environment = os.environ | {"KEPT": database or ""}
            with (host / "out.txt").open("wb") as out:
                running.append(
                    subprocess.Popen(command, cwd=host, env=environment, stdout=out, stderr=out)
                )
        for host, sweeper in zip(hosts, running, strict=True):
            if sweeper.wait() != 0:
                raise SystemExit((host / "out.txt").read_text())
        return trials_in(database or journal_address(folder / "multirun" / "s"))


@contextlib.contextmanager
def servers(way: str) -> Iterator[str | None]:
    """The address of a database where several hosts are to synchronize."""
    if way != "two hosts":
        yield None
        return
    from databases import postgresql

    with postgresql() as server:
        yield server.new_database()


def trials_in(address: str) -> list[FrozenTrial]:
    storage = open_storage(address)
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage).trials


def per_minute(trials: Sequence[FrozenTrial]) -> float:
    """From the first one's beginning to the last one's end."""
    began = min(trial.datetime_start for trial in trials if trial.datetime_start)
    ended = max(trial.datetime_complete for trial in trials if trial.datetime_complete)
    return len(trials) / (ended - began).total_seconds() * 60


def lengths_of(study: Path) -> list[float]:
    """Seconds that each of a study's trials took, pruned ones as well."""
    took = [trial.duration for trial in trials_in(journal_address(study))]
    return [one.total_seconds() for one in took if one is not None]


def show_simulated(lengths: Sequence[float], trials: int) -> None:
    """A line for each number of slots."""
    mean = sum(lengths) / len(lengths)
    print(f"{trials} trials of {min(lengths):.0f} to {max(lengths):.0f} s, mean {mean:.0f} s")
    print(f"{'':6}{'trials/min':>22}{'slots busy':>22}")
    print(f"{'slots':6}{'refilled':>11}{'batches':>11}{'refilled':>11}{'batches':>11}")
    drawn = random.Random(0).choices(lengths, k=trials)
    for slots in SLOTS:
        took = [refilled(drawn, slots), batches(drawn, slots)]
        rates = "".join(f"{60 * trials / one:>11.1f}" for one in took)
        busy = "".join(f"{sum(drawn) / (slots * one):>11.0%}" for one in took)
        print(f"{slots:<6}{rates}{busy}")


def refilled(lengths: Sequence[float], slots: int) -> float:
    """Seconds until all have ended, where each slot takes the next trial once it is free."""
    free = [0.0] * slots
    asked = 0.0
    for length in lengths:
        asked = max(free[0], asked) + ASK
        heapq.heapreplace(free, asked + START + length)
    return max(free)


def batches(lengths: Sequence[float], slots: int) -> float:
    """The same where as many trials as there are slots start together, and wait for the last."""
    now = 0.0
    for first in range(0, len(lengths), slots):
        batch = lengths[first : first + slots]
        now += len(batch) * ASK + START + max(batch)
    return now


if __name__ == "__main__":
    main()
