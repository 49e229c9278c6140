"""Hosts of the tests' own: network namespaces with names, cables to this host, and no other way."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_AS_HOST = 'hostname "$0"; exec "$@"'


@dataclass(frozen=True)
class Host:
    """A host with a name, a folder and a network of its own; only the disk's root is shared."""

    name: str
    folder: Path

    def start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a command there; what it prints goes to ``out.txt`` in the host's folder."""
        inside = ["ip", "netns", "exec", self.name, "unshare", "--uts", "sh", "-c", _AS_HOST]
        with (self.folder / "out.txt").open("ab") as out:
            return subprocess.Popen(
                [*inside, self.name, *command],
                cwd=self.folder,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def said(self) -> str:
        return (self.folder / "out.txt").read_text()

    def kill(self) -> None:
        """End all that runs there at once, as a host that loses its power."""
        pids = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True)
        subprocess.run(["kill", "-9", *pids.stdout.split()], capture_output=True)

    def cut_off(self) -> None:
        """Pull the cable."""
        _ip("link", "set", f"{self.name}a", "down")

    def plug_in(self) -> None:
        """Put it back."""
        _ip("link", "set", f"{self.name}a", "up")
        _ip("route", "replace", self._address, "dev", f"{self.name}a")

    @property
    def _address(self) -> str:
        return _address(int(self.name.rpartition("h")[2]) + 1)


@contextmanager
def hosts(folder: Path, count: int = 2) -> Iterator[tuple[str, list[Host]]]:
    """The address at which this host is reached by others, and these; skips where none can be."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("unshare") is None:
        pytest.skip("network namespaces need root, and ip and unshare (iproute2, util-linux)")
    with ExitStack() as stack:
        made = []
        unique = uuid.uuid4().hex[:8]
        for number in range(1, count + 1):
            host = Host(f"t{unique}h{number}", folder / f"host-{number}")
            host.folder.mkdir()
            try:
                _ip("netns", "add", host.name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
            here, there = f"{host.name}a", f"{host.name}b"
            _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", host.name)
            stack.callback(_remove, host)
            _ip("address", "add", _address(1), "peer", _address(number + 1), "dev", here)
            _ip("link", "set", here, "up")
            inside = ("-n", host.name)
            _ip(*inside, "address", "add", _address(number + 1), "peer", _address(1), "dev", there)
            _ip(*inside, "link", "set", there, "up")
            _ip(*inside, "link", "set", "lo", "up")
            made.append(host)
        yield _address(1), made


def _remove(host: Host) -> None:
    host.kill()
    _ip("link", "delete", f"{host.name}a")  # and its other end
    _ip("netns", "delete", host.name)


def _address(number: int) -> str:
    """One of those kept for benchmarks of networks (RFC 2544); not the same for two test runs."""
    return f"198.18.{os.getpid() % 251}.{number}"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
