"""The stack's services without containers: each command as compose.yaml says, on this machine.

An image is a virtual environment, a volume a folder, another service's name 127.0.0.1 with a port
of its own. MariaDB stands for MySQL.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import compose
import images

from commands import Answer
from databases import PASSWORD, Server, mariadb
from limits import HANG_TIMEOUT
from servers import free_port

SECRETS = {
    "MLFLOW_TRACKING_PASSWORD": "pl4nted-mlflow-login",
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "pl4nted-mlflow-key",
    "JUPYTER_TOKEN": "pl4nted-jupyter-token",
    "MYSQL_ROOT_PASSWORD": PASSWORD,  # the stand-in's
    "MLFLOW_DATABASE_PASSWORD": "pl4nted-mlflow-database",
    "STUDY_PASSWORD": "pl4nted-studies",
}
#: By service: its port inside the container.
_PORTS = {"database": "3306", "mlflow": "5000", "dashboard": "8080", "jupyter": "8888"}


@dataclass
class Stack:
    """A stack in a folder of its own, as far as it has been started."""

    folder: Path
    database: Server
    ports: dict[str, int]
    file: dict
    images: dict[str, Path] = field(default_factory=dict)
    running: dict[str, subprocess.Popen] = field(default_factory=dict)

    def address(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[service]}"

    def volume(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder

    def run(self, service: str, *command: str, **changed: str) -> Answer:
        """As `docker compose run` and `exec` do: another command in a service's container."""
        done = subprocess.run(**self.process(service, command, changed), timeout=HANG_TIMEOUT)
        return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())

    def type(self, line: str) -> None:
        """A line of the docs, ``docker compose run|exec [OPTION...] SERVICE COMMAND [<|> FILE]``.

        Files are in the stack's folder.
        """
        words = shlex.split(line)
        assert words[:2] == ["docker", "compose"]
        assert words[2] in ("run", "exec")
        service, *command = [word for word in words[3:] if word not in ("--rm", "-T", "--no-deps")]
        streams = {}
        for sign, name, mode in (("<", "stdin", "rb"), (">", "stdout", "wb")):
            if sign in command:
                streams[name] = (self.folder / command[-1]).open(mode)
                del command[-2:]
        done = subprocess.run(
            **(self.process(service, command, {}) | streams), timeout=HANG_TIMEOUT
        )
        assert done.returncode == 0, done.stderr

    def start(self, service: str) -> None:
        """As `docker compose up` does: the service's own command, until its health check passes."""
        log = (self.folder / f"{service}.log").open("ab")
        command = self.file["services"][service]["command"]
        output = {"stdout": log, "stderr": log, "start_new_session": True}
        self.running[service] = subprocess.Popen(**(self.process(service, command, {}) | output))
        deadline = time.monotonic() + HANG_TIMEOUT
        while not self.is_healthy(service):
            assert self.running[service].poll() is None, self.said(service)
            assert time.monotonic() < deadline, self.said(service)
            time.sleep(0.5)

    def stop(self, service: str) -> None:
        process = self.running.pop(service)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(HANG_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def is_healthy(self, service: str) -> bool:
        kind, *test = self.file["services"][service]["healthcheck"]["test"]
        return self.run(service, *(["sh", "-c", *test] if kind == "CMD-SHELL" else test)).code == 0

    def said(self, service: str) -> str:
        return (self.folder / f"{service}.log").read_text()

    def process(self, service: str, command: list[str], changed: dict[str, str]) -> dict:
        here = self.file["services"][service]
        target = here["build"]["target"]
        image = self._image(None if target == "database" else target, service)
        given = here["environment"] | changed
        environment = {name: self._here(service, value) for name, value in given.items()}
        path = [*([image / "venv/bin"] if image else []), self.volume("stand-ins")]
        environment["PATH"] = os.pathsep.join([*map(str, path), os.environ["PATH"]])
        environment["HOME"] = str(self.volume("home"))
        return {
            "args": [self._here(service, word) for word in command],
            "cwd": image / "source" if service == "dashboard" else self.volume("work"),
            "env": environment,
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }

    def _here(self, service: str, text: str) -> str:
        """What is said in a service's container, as it has to be said here."""
        for name, port in _PORTS.items():
            host = rf"(?:{name}|127\.0\.0\.1|0\.0\.0\.0)"
            text = re.sub(rf"(?<=[/@=]){host}:{port}\b", f"127.0.0.1:{self.ports[name]}", text)
        text = text.replace("=0.0.0.0", "=127.0.0.1")
        if service in _PORTS:
            text = re.sub(rf"^--port={_PORTS[service]}$", f"--port={self.ports[service]}", text)
        mounts = [mount.split(":") for mount in self.file["services"][service].get("volumes", [])]
        places = {to: self.volume(name) for name, to, *_ in mounts if not name.startswith(".")}
        places["/etc/mlflow-auth.ini"] = self.folder / "image-mlflow/root/etc/mlflow-auth.ini"
        inside = "|".join(map(re.escape, places))
        return re.sub(rf"(?<!\w)(?:{inside})\b", lambda found: str(places[found[0]]), text)

    def _image(self, target: str | None, service: str) -> Path | None:
        """The folder of a service's image, which is made when it is first asked for."""
        # JupyterLab's image is the trainer's and more: one environment is enough.
        target = "jupyter" if target == "trainer" else target
        if target is not None and target not in self.images:
            folder = self.images[target] = self.folder / f"image-{target}"
            images.build(target, folder)
            for file in (folder / "root").rglob("*.ini"):
                file.write_text(self._here(service, file.read_text()))
        return self.images.get(target)


@contextmanager
def native_stack() -> Iterator[Stack]:
    """A database server and a folder, both empty."""
    example = compose.settings((compose.ROOT / ".env.example").read_text())
    file = compose.stack(example | SECRETS)
    # Not pytest's own folder, which is kept: environments are large.
    options = file["services"]["database"]["command"]
    with (
        mariadb("root", *options) as server,
        tempfile.TemporaryDirectory(prefix="harnest-stack-") as folder,
    ):
        ports = {name: free_port() for name in _PORTS} | {"database": server.port}
        stack = Stack(Path(folder), server, ports, file)
        for name, program in (("mysql", "mariadb"), ("mysqldump", "mariadb-dump")):
            (stack.volume("stand-ins") / name).symlink_to(shutil.which(program))
        home = stack.volume("home")
        (home / ".my.cnf").write_text(f"[client]\nhost=127.0.0.1\nport={server.port}\n")
        if os.geteuid() == 0:  # no container's user is root, but whoever tests may be
            (home / ".jupyter").mkdir()
            settings = home / ".jupyter/jupyter_server_config.py"
            settings.write_text("c.ServerApp.allow_root = True\n")
        try:
            yield stack
        finally:
            for service in [*stack.running]:
                stack.stop(service)
