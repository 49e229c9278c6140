"""Detects kills by the kernel's OOM killer and sets OOM scores."""

import re
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_PREFERENCE = 500  # added to oom_score_adj: thousandths of the available memory


def prefer_oom_kill() -> None:
    """Make the OOM killer prefer this process and its children over the sweeper.

    Killing one of them fails one trial only. Processes that wait for a trial call this too: until
    the memory of a killed process is freed, the kernel may kill another one. Among processes with
    the same preference it kills the largest. Does nothing if the kernel has no
    ``oom_score_adj``.
    """
    with suppress(OSError):
        file = Path("/proc/self/oom_score_adj")
        file.write_text(str(min(int(file.read_text()) + _PREFERENCE, 1000)))


class OomKills:
    """Attributes deaths of job processes to the kernel's OOM killer.

    SIGKILL does not reveal its sender. The kernel increments a counter before each OOM kill: per
    control group (version 2 or 1), else for the whole machine. A process that died of SIGKILL while
    the counter rose is taken to be an OOM kill, and each increment explains one death.

    Limits: an increment by a process outside the study, in the same control group, may be
    attributed to a SIGKILL from another sender. Memory watchdogs in user space (earlyoom,
    systemd-oomd) are not counted.
    """

    def __init__(self) -> None:
        self._claimed = 0

    def unexplained(self) -> int:
        """Return how many OOM kills are not yet attributed to a job."""
        return _counted() - self._claimed

    def explain(self, before: int) -> bool:
        """Attribute an OOM kill to a job, if `unexplained` exceeds ``before``.

        Args:
            before: The value of `unexplained` when the job started.

        Returns:
            Whether there was such an OOM kill.
        """
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
    """Return the files that may hold the counter, the most specific first."""
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
