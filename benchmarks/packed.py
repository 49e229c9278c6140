"""An epoch of packed LSTM trials beside one trial alone, and beside as many slots of one card.

    python benchmarks/packed.py [--device DEVICE] [--trials N,N,...] [--epochs N] [OVERRIDE ...]

alone   one trial, trained as ever
packed  so many trials as one batched program, in one process
slots   so many trials as `hydra.launcher.per_gpu` lets share a card, in a process each, all at once

DEVICE is auto, cpu or gpu. An epoch is one whole turn of Lightning's loop, validation included,
from the start of one to the start of the next; times are medians in seconds over --epochs of them,
without the first two. For each number of trials one alone is measured again, right before. Slots
are measured on a card only.

On a GPU: leave it to this program alone, install the project there (docs/stack.md), and run

    python benchmarks/packed.py --device gpu data=watch model.hidden_size=64 model.layers=1

once for each network of interest; where the card's MPS server runs, slots use it, and the table's
first line does not know: say so beside the figures. The goal is 16 trials in at most 3 times alone.
"""

import argparse
import multiprocessing
import os
import platform
import statistics
import tempfile
from functools import partial
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import torch
from clock import LEFT_OUT, Clock
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from harnest.core.paths import CONFIG_DIR
from harnest.study.execution.barrier import run_cooperatively
from harnest.training.components import assemble
from harnest.training.fit import fit


def configured(overrides: list[str]) -> DictConfig:
    """The config of one trial."""
    with initialize_config_dir(str(CONFIG_DIR)):
        quiet = ["trainer.enable_progress_bar=false", "logger=none", "callbacks=none"]
        return compose("train", ["model=lstm", *quiet, *overrides])


def trained(cfg: DictConfig, clock: Clock) -> None:
    """Train one trial to its end, alone or as one of a pack."""
    with tempfile.TemporaryDirectory() as folder:
        parts = assemble(cfg, Path(folder))
        parts.trainer.callbacks.append(clock)
        fit(parts, None)


def alone(overrides: list[str]) -> float:
    """Seconds of an epoch of one trial."""
    clock = Clock()
    trained(configured(overrides), clock)
    return clock.epoch


def packed(overrides: list[str], trials: int) -> float:
    """Seconds of an epoch of so many trials as one program."""
    clocks = [Clock() for _ in range(trials)]
    with tempfile.TemporaryDirectory() as folder:
        jobs = []
        for number, clock in enumerate(clocks):
            own = [f"seed={number}", f"optimizer.lr={1e-3 * (1 + number / trials)}"]
            cfg = configured([*overrides, *own])
            jobs.append((partial(trained, cfg, clock), Path(folder, f"{number}.log")))
        run_cooperatively(jobs)
        if not all(clock.marks for clock in clocks):
            raise SystemExit(Path(folder, "0.log").read_text())  # what went wrong
    return clocks[0].epoch


def slots(overrides: list[str], trials: int) -> float:
    """Seconds of an epoch of so many trials in processes of their own, at once."""
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(trials)
    answers = context.SimpleQueue()
    processes = [
        context.Process(target=_in_slot, args=(overrides, number, together, answers))
        for number in range(trials)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit(f"{trials} trials do not fit on the card")
    return statistics.median(answers.get() for _ in processes)


def _in_slot(
    overrides: list[str], number: int, together: Barrier, answers: "SimpleQueue[float]"
) -> None:
    clock = Clock(together)
    trained(configured([*overrides, f"seed={number}"]), clock)
    answers.put(clock.epoch)


def figures(trials: int = 16, epochs: int = 5) -> dict[str, float]:
    """So many packed trials beside one alone; none without a GPU."""
    if not torch.cuda.is_available():
        return {}
    options = ("data=watch", "model.hidden_size=64", "model.layers=1", "trainer=gpu")
    overrides = [*options, f"trainer.max_epochs={epochs + LEFT_OUT}"]
    one, many = alone(overrides), packed(overrides, trials)
    plain = alone([*overrides, "cuda_graph=false"])
    return {"ratio": many / one, "packed": many, "alone": one, "plain": plain}


def main() -> None:
    """Print what is measured on, and one row for each number of trials."""
    parser = argparse.ArgumentParser(usage=__doc__.splitlines()[2].strip())
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument("--trials", default="1,2,4,8,16")
    parser.add_argument("--epochs", type=int, default=5)
    known, overrides = parser.parse_known_args()
    has_card = known.device != "cpu" and torch.cuda.is_available()
    device = torch.cuda.get_device_name() if has_card else platform.processor() or "CPU"
    cores = len(os.sched_getaffinity(0))
    print(f"{device}, {cores} cores, torch {torch.__version__}, {' '.join(overrides)}")
    overrides = [
        f"trainer.accelerator={known.device}",
        f"trainer.max_epochs={known.epochs + LEFT_OUT}",
        *overrides,
    ]
    heads = f"{'trials':>6}{'alone':>9}{'packed':>9}{'ratio':>7}"
    print(heads + "    slots  ratio" * has_card)
    for trials in map(int, known.trials.split(",")):
        one = alone(overrides)
        many = packed(overrides, trials)
        row = f"{trials:>6}{one:>9.3f}{many:>9.3f}{many / one:>7.2f}"
        if has_card:
            beside = slots(overrides, trials)
            row += f"{beside:>9.3f}{beside / many:>7.2f}"
        print(row, flush=True)


if __name__ == "__main__":
    main()
