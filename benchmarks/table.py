"""Measures the figures of docs/performance.md, and writes its table.

    [HAPT=FILE] python benchmarks/table.py [PROGRAM ...]

Each PROGRAM that `rows` names, all unless named, runs in a process of its own: its function
``figures`` measures, with sizes that suit a table, and returns numbers by name. They go into the
record, with date, machine and versions, and the table is made from that: a figure that is not
measured this time keeps its number and its date. Without HAPT, the archive's zip file, the figures
of that data set are left out. The machine should have nothing else to do.
"""

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
import torch
from page import put
from rows import ROWS

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
RECORD = Path(__file__).with_name("figures.json")
PROGRAMS = tuple(dict.fromkeys(row.program for row in ROWS if row.program))
PACKAGES = ("torch", "pytorch-lightning", "mlflow", "optuna", "hydra-core")
HEAD = ("figure", "beside", "measured", "goal", "met", "program", "on")

#: What one program measured at a time: ``program``, ``date``, ``machine``, ``versions``, and
#: ``figures`` by name.
Measurement = Mapping[str, Any]


def measure(program: str) -> Measurement:
    """Run a program in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        figures = process.submit(figures_of, program).result()
    return {
        "program": program,
        "date": f"{date.today()}",
        "machine": machine(),
        "versions": ", ".join([f"Python {sys.version.split()[0]}", *map(named_version, PACKAGES)]),
        "figures": figures,
    }


def figures_of(program: str) -> dict[str, float]:
    """What a program measures, in this process."""
    figures: dict[str, float] = importlib.import_module(program).figures()
    return figures


def machine() -> str:
    """Processor, cores, memory and GPUs."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = psutil.virtual_memory().total / 2**30
    cards = [torch.cuda.get_device_name(card) for card in range(torch.cuda.device_count())]
    gpus = ", ".join(cards) or "no GPU"
    cores = len(os.sched_getaffinity(0))
    return (
        f"{models[0] if models else 'processor unknown'}, {cores} cores, {memory:.0f} GiB, {gpus}"
    )


def named_version(package: str) -> str:
    return f"{package} {version(package)}"


def remembered(record: Sequence[Measurement], new: Measurement) -> list[Measurement]:
    """The record with a measurement that replaces earlier ones of the same figures."""
    kept = []
    for old in record:
        if old["program"] == new["program"]:
            figures = {k: v for k, v in old["figures"].items() if k not in new["figures"]}
            old = {**old, "figures": figures}
        if old["figures"]:
            kept.append(old)
    return [*kept, new] if new["figures"] else kept


def table(record: Sequence[Measurement]) -> tuple[list[list[str]], list[str]]:
    """The cells of each row, and the machines and versions that they refer to by number."""
    places: list[str] = []
    cells = []
    for row in ROWS:
        measured, met, on = "not measured yet", "", ""
        if row.missing:
            measured += f": {row.missing}"
        for one in record:
            if one["program"] == row.program and row.name in one["figures"]:
                measured = row.shown.format_map(one["figures"])
                met = "yes" if row.is_met(one["figures"][row.name]) else "**no**"
                place = f"{one['machine']}; {one['versions']}"
                if place not in places:
                    places.append(place)
                on = f"{one['date']} ({places.index(place) + 1})"
        program = row.program and f"`{row.program}.py`"
        cells.append([row.what, row.beside, measured, row.aim, met, program, on])
    return cells, places


def show(cells: Sequence[Sequence[str]]) -> None:
    """Print the table, its columns one below the other."""
    lines = [HEAD, *cells]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    for line in lines:
        print("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip())


def write(page: Path, cells: Sequence[Sequence[str]], places: Sequence[str]) -> None:
    """Put the table into the page."""
    lines = [f"| {' | '.join(line)} |" for line in (HEAD, ["---"] * len(HEAD), *cells)]
    listed = [f"{number}. {place}" for number, place in enumerate(places, start=1)]
    put(page, "figures", [*lines, "", *listed])


def main() -> None:
    """Measure, remember, write after each program; print the table at the end."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=", ".join(PROGRAMS))
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE", help="what is written")
    parser.add_argument(
        "--record", type=Path, default=RECORD, metavar="FILE", help="what was measured before"
    )
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.programs) - set(PROGRAMS)):
        parser.error(f"no program is called {', '.join(unknown)}; there are {', '.join(PROGRAMS)}")
    record = json.loads(arguments.record.read_text()) if arguments.record.exists() else []
    write(arguments.page, *table(record))  # a page without its marks is told at once
    failed = []
    for program in arguments.programs or PROGRAMS:
        began = time.monotonic()
        try:
            record = remembered(record, measure(program))
        except (Exception, SystemExit) as error:  # the others can be measured nevertheless
            failed.append(program)
            print(f"{program}: {error or type(error).__name__}", file=sys.stderr)
        print(f"{program}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        arguments.record.write_text(json.dumps(record, indent=1) + "\n")
        write(arguments.page, *table(record))
    show(table(record)[0])
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
