"""Detects kills by the kernel's OOM killer, and sets OOM scores."""

import re
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_PREFERENCE = 500  # thousandths of the memory that there is, as if the process had them as well


def prefer_oom_kill() -> None:
    """Let the kernel kill this process, or its children, before the sweeper: it ends one trial.

    A process that waits for a trial does so as well: the memory of a dead one takes a moment to
    come back, and until then the kernel may kill one more. Of two such processes it still kills
    the larger one. Where the kernel has no such rule, nothing happens.
    """
    with suppress(OSError):
        file = Path("/proc/self/oom_score_adj")
        file.write_text(str(min(int(file.read_text()) + _PREFERENCE, 1000)))


class OomKills:
    """Attributes deaths by SIGKILL to the kernel's OOM killer.

    A process killed by SIGKILL does not know the sender. The kernel counts its OOM kills before it
    sends the signal, per control group (v2 or v1) or for the machine. A death during which the
    counter rose is attributed to the kernel; each increment explains one death. A SIGKILL from
    elsewhere is misattributed if the kernel killed another process of the same group meanwhile.
    Kills by userspace watchdogs (earlyoom, systemd-oomd) are not counted.
    """

    def __init__(self) -> None:
        self._claimed = 0

    def unexplained(self) -> int:
        """How many such deaths there were so far that are not explained by a job's end."""
        return _counted() - self._claimed

    def explain(self, before: int) -> bool:
        """Whether there was one more than ``before``; it then explains one job's end."""
        if self.unexplained() <= before:
            return False
        self._claimed += 1
        return True


def _counted() -> int:
    for file in _counters():
        try:
            found = re.search(r"^oom_kill (\d+)$", file.read_text(), re.MULTILINE)
        except OSError:
            continue
        if found:
            return int(found[1])
    return 0


def _counters() -> list[Path]:
    """Where the count may be: the nearest first."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    files = []
    for _, controllers, group in (line.split(":", 2) for line in lines):
        if controllers == "":
            files.append(_CGROUPS / group.lstrip("/") / "memory.events")
        elif "memory" in controllers.split(","):
            files.append(_CGROUPS / "memory" / group.lstrip("/") / "memory.oom_control")
    return [*files, Path("/proc/vmstat")]
