"""Where one job can run: a GPU or a share of it, or some CPU threads."""

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harnest.errors import StudyError

#: In a job's directory while it runs: the number of its process, and its host.
_RUNNING = ".pid"


@dataclass(frozen=True)
class Slot:
    """A place where one job can run: one GPU or a share of it, or some CPU threads.

    ``gpu`` is what CUDA_VISIBLE_DEVICES names it by; None: no GPU.
    """

    number: int
    gpu: str | None
    threads: int


def find_slots(
    gpus: Literal["auto", "none"] | Sequence[int | str],
    per_gpu: int,
    cpu_slots: Literal["auto"] | int,
) -> list[Slot]:
    """The slots of this machine: ``per_gpu`` on each GPU, or ``cpu_slots`` where there is none.

    Threads are shared out evenly. Raises `StudyError` for numbers below 1 and for GPUs that
    were asked for and are not there.
    """
    cores = len(os.sched_getaffinity(0))
    places = [None] * (cores if cpu_slots == "auto" else int(cpu_slots))
    cards = _visible_gpus()
    if not isinstance(gpus, str):
        missing = [str(card) for card in gpus if str(card) not in cards]
        if missing:
            there = ", ".join(cards) or "none"
            raise StudyError(f"hydra.launcher.gpus: there is no GPU {missing[0]}; there is {there}")
        cards = [str(card) for card in gpus]
    elif gpus == "none":
        cards = []
    elif gpus != "auto":
        raise StudyError(f"hydra.launcher.gpus={gpus}: choose auto, none or a list of numbers")
    on_cards: list[str | None] = [card for card in cards for _ in range(per_gpu)]
    chosen = on_cards or places
    if per_gpu < 1 or not chosen:
        raise StudyError("hydra.launcher: per_gpu and cpu_slots must be at least 1")
    threads = max(1, cores // len(chosen))
    return [Slot(number, gpu, threads) for number, gpu in enumerate(chosen)]


def _visible_gpus() -> list[str]:
    """Names of the GPUs that this process may use, found without making a CUDA context."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
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
    """Say in a job's directory that this process runs it."""
    (directory / _RUNNING).write_text(f"{os.getpid()} {socket.gethostname()}")


def mark_ended(directory: Path) -> None:
    """Say that no process runs it any more."""
    (directory / _RUNNING).unlink(missing_ok=True)


def signal_job(directory: Path, number_of_signal: int) -> None:
    """Signal the process that runs the job of ``directory``, if there is one on this host."""
    try:
        pid, host = (directory / _RUNNING).read_text().split(maxsplit=1)
        if host == socket.gethostname():
            os.kill(int(pid), number_of_signal)
    except (OSError, ValueError):
        return  # not started yet, or gone already
