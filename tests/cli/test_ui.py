"""The record in a browser: two servers, whose addresses answer, and which end together."""

import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from commands import warm
from limits import HANG_TIMEOUT

pytestmark = pytest.mark.xdist_group("workplace")


class Ui:
    """``harnest-ui`` in a process of its own, and the addresses that it prints."""

    def __init__(self, folder, *arguments):
        program = Path(sys.executable).with_name("harnest-ui")
        self.process = subprocess.Popen(
            [program, *arguments], cwd=folder, stdout=subprocess.PIPE, text=True
        )
        self.addresses = {}
        for line in self.process.stdout:
            if line.startswith("Ctrl-C"):
                break
            name, _, address = line.partition(":")
            self.addresses[name] = address.strip()

    def get(self, name, path):
        with urllib.request.urlopen(
            f"{self.addresses[name]}{path}", timeout=HANG_TIMEOUT
        ) as answer:
            return answer.read().decode()

    def end(self, number):
        self.process.send_signal(number)
        return self.process.wait(timeout=HANG_TIMEOUT)


def is_free(address):
    port = int(address.rpartition(":")[2])
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.slow
def test_both_show_what_is_there_and_end_together(workplace):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        wanted = taken.getsockname()[1]
        ui = Ui(workplace.folder, "--port", str(wanted))
        try:
            assert set(ui.addresses) == {"MLflow", "optuna-dashboard"}
            for address in ui.addresses.values():
                assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address)
            assert ui.addresses["MLflow"] != f"http://127.0.0.1:{wanted}"
            assert ui.get("MLflow", "/health") == "OK"
            assert '"study_name": "pair"' in ui.get("optuna-dashboard", "/api/studies")
        finally:
            code = ui.end(signal.SIGINT)
    assert code == 0
    deadline = time.monotonic() + HANG_TIMEOUT
    while not all(map(is_free, ui.addresses.values())) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert all(map(is_free, ui.addresses.values()))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "nowhere is not a study folder"),
        (["--tracking-uri", "sqlite:////nowhere/mlflow.db"], "/nowhere"),
        (["--tracking-uri", "http://127.0.0.1:1"], "does not answer"),
    ],
)
def test_what_cannot_be_shown_is_told_in_one_line(workplace, arguments, told):
    assert told in warm("ui", *arguments, folder=workplace.folder).line


def test_a_port_that_is_none_is_refused(workplace):
    answer = warm("ui", "--port", "99999", folder=workplace.folder)
    assert answer.code == 2
    assert "99999" in answer.err
