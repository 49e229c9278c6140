"""Memory of concurrent trials on HAPT, beside as many trials each in a process of its own.

    HAPT=FILE python benchmarks/memory.py [TRIALS [EPOCHS]]

alone     one ``harnest-train``, as a shell script would start it for each trial
one slot  a study of one trial: the sweeper, its warm processes and the trial
slots     a study of TRIALS trials (default 8) on as many slots

All with the logger MLflow, as usual, and EPOCHS epochs (default 2). A figure is the sum of the
proportional set sizes (PSS, of /proc/PID/smaps_rollup) of a command's process and all that it
started: a page that several processes share counts once, and one that a process outside shares
counts in part, so nothing else of Python's should run. It is the highest of those seen, five times
a second, from when all trials train until the first one has ended its training.
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
from hapt import archive
from moments import FIRST, LAST, NOTED, TRUSTED

PROGRAM = Path(sys.executable).with_name("harnest-train")
PAUSE = 0.2  # seconds


def figures(trials: int = 8, epochs: int = 2) -> dict[str, float]:
    """MiB of each way, and the ratios of ``slots`` to so many times the other two."""
    packed = archive()
    if packed is None:
        return {}
    common = ["data=hapt", f"data.archive='{packed}'", "trainer=cpu", NOTED]
    common.append(f"trainer.max_epochs={epochs}")
    alone = peak([*common, "hydra.run.dir=run"], 1)
    study = ["-m", "hydra.sweeper.study=s", *common]
    one = peak([*study, "seed=choice(0)", "hydra.launcher.cpu_slots=1"], 1)
    slots = peak([*study, f"seed=range({trials})", f"hydra.launcher.cpu_slots={trials}"], trials)
    return {
        "alone": alone,
        "one slot": one,
        "slots": slots,
        "beside alone": slots / (trials * alone),
        "beside one slot": slots / (trials * one),
    }


def peak(arguments: list[str], trials: int) -> float:
    """The most memory that a command and its processes have while all its trials train [MiB]."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        said = folder / "said.txt"
        with said.open("wb") as out:
            started = subprocess.Popen(
                [PROGRAM, *arguments],
                cwd=folder,
                env=os.environ | TRUSTED,
                stdout=out,
                stderr=out,
            )
        most = 0
        while started.poll() is None:
            time.sleep(PAUSE)
            if len(list(folder.rglob(FIRST))) == trials and not list(folder.rglob(LAST)):
                most = max(most, memory(psutil.Process(started.pid)))
        if started.returncode != 0 or most == 0:
            raise SystemExit(f"not all {trials} trials were at work at once:\n{said.read_text()}")
    return most / 1024


def memory(process: psutil.Process) -> int:
    """PSS of a process and its descendants [KiB]."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        with suppress(OSError):  # it has ended
            lines = Path(f"/proc/{one.pid}/smaps_rollup").read_text().splitlines()
            (line,) = [line for line in lines if line.startswith("Pss:")]
            total += int(line.split()[1])
    return total


def main() -> None:
    """Print a row for each way."""
    trials, epochs = (int(text) for text in [*sys.argv[1:3], "8", "2"][:2])
    found = figures(trials, epochs)
    if not found:
        raise SystemExit("HAPT's archive is needed: HAPT=FILE python benchmarks/memory.py")
    for way in ("alone", "one slot", "slots"):
        print(f"{way:10}{found[way]:>8.0f} MiB")
    for way in ("alone", "one slot"):
        print(f"{trials} trials beside {trials} times {way}: {found[f'beside {way}']:.2f}")


if __name__ == "__main__":
    main()
