"""Slots, the places where single jobs run, and marks of running jobs."""

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Literal

from harnest.core.errors import StudyError

#: Contains the directories of all jobs.
EVERYWHERE = Path("/")

#: File in a job's directory while it runs: process ID and host name.
_RUNNING = ".pid"


@dataclass(frozen=True)
class Slot:
    """A place where one job runs: a GPU, a share of one, or some CPU threads.

    Args:
        number: Index of the slot.
        gpu: The GPU's name in CUDA_VISIBLE_DEVICES; None: no GPU.
        threads: Number of CPU threads.
    """

    number: int
    gpu: str | None
    threads: int


def find_slots(
    gpus: Literal["auto", "none"] | int | Sequence[int | str],
    per_gpu: int,
    cpu_slots: Literal["auto"] | int,
) -> list[Slot]:
    """Return the slots of this machine; each gets an equal share of the CPU threads.

    Args:
        gpus: ``auto`` (all visible GPUs), ``none``, or names of GPUs.
        per_gpu: Slots per GPU.
        cpu_slots: Slots if no GPU is used; ``auto``: one per core.

    Raises:
        StudyError: A number is not a whole number of at least 1, or a requested GPU does not exist.
    """
    cores = len(os.sched_getaffinity(0))
    at_once = cores if cpu_slots == "auto" else cpu_slots
    for key, count in (("per_gpu", per_gpu), ("cpu_slots", at_once)):
        if not isinstance(count, int) or count < 1:
            raise StudyError(f"hydra.launcher.{key}={count}: it must be a whole number from 1 up")
    cards = visible_gpus()
    if isinstance(gpus, int):
        gpus = [gpus]
    if isinstance(gpus, Sequence) and not isinstance(gpus, str):
        missing = [str(card) for card in gpus if str(card) not in cards]
        if missing:
            there = ", ".join(cards) or "none"
            raise StudyError(f"hydra.launcher.gpus: no GPU {missing[0]}; available: {there}")
        cards = [str(card) for card in gpus]
    elif gpus == "none":
        cards = []
    elif gpus != "auto":
        raise StudyError(f"hydra.launcher.gpus={gpus}: choose auto, none or a list of numbers")
    on_cards: list[str | None] = [card for card in cards for _ in range(per_gpu)]
    chosen = on_cards or [None] * at_once
    threads = max(1, cores // len(chosen))
    return [Slot(number, gpu, threads) for number, gpu in enumerate(chosen)]


def visible_gpus() -> list[str]:
    """Return the names of the NVIDIA GPUs visible to this process, without a CUDA context.

    Names are indices, or UUIDs of GPUs or MIG instances, as in CUDA_VISIBLE_DEVICES. Like CUDA,
    this ignores what follows an empty name or -1.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = (name.strip() for name in visible.split(","))
        return list(takewhile(lambda name: name not in ("", "-1"), names))
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    asked = subprocess.run(  # noqa: S603
        [program, "--query-gpu=index", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return asked.stdout.split() if asked.returncode == 0 else []


def mark_running(directory: Path) -> None:
    """Record in a job's directory that this process runs it."""
    (directory / _RUNNING).write_text(f"{os.getpid()} {socket.gethostname()}")


def mark_ended(directory: Path) -> None:
    """Remove the mark of `mark_running`."""
    (directory / _RUNNING).unlink(missing_ok=True)


def signal_job(directory: Path, number_of_signal: int) -> bool:
    """Signal the process of the job in ``directory``; return whether it is on this host."""
    try:
        pid, host = (directory / _RUNNING).read_text().split(maxsplit=1)
        if host == socket.gethostname():
            os.kill(int(pid), number_of_signal)
            return True
    except (OSError, ValueError):
        pass  # not started yet, or ended
    return False


def is_marked(directory: Path) -> bool:
    """Return whether a process on any host runs the job in ``directory``."""
    return (directory / _RUNNING).exists()
