"""Output that outlives its reader."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys
from harnest.core.output import ignore_broken_pipe

print("first")
with ignore_broken_pipe():
    for number in range(100_000):
        print("line", number)
print("ended", file=sys.stderr)
"""


@pytest.mark.parametrize("options", [[], ["-u"]], ids=["buffered", "unbuffered"])
def test_a_program_ends_by_itself_after_its_reader_has(options):
    writer = subprocess.Popen(
        [sys.executable, *options, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout.readline() == "first\n"
    assert writer.stdout.readline() == "line 0\n"
    writer.stdout.close()
    assert writer.stderr.read() == "ended\n"
    assert writer.wait() == 0


def test_nothing_is_lost_while_somebody_reads():
    answer = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert answer.stdout.splitlines() == ["first", *(f"line {n}" for n in range(100_000))]
