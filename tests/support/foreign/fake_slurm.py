"""A SLURM that is none: sbatch, srun, sacct and scancel for one host, which runs jobs at once.

It reads the script that it is handed as SLURM would, and tells of its end in SLURM's words; it
queues nothing, limits nothing, and knows no partitions.
"""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SPOOL = Path(os.environ["FAKE_SLURM"])


def sbatch(arguments):
    (script,) = arguments
    number = 1
    while True:
        try:
            job = SPOOL / str(number)
            job.mkdir()
            break
        except FileExistsError:
            number += 1
    text = Path(script).read_text()
    (job / "script").write_text(text)
    own = {"SLURM_JOB_ID": str(number), "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}
    own |= {"SLURM_JOB_NUM_NODES": "1", "SLURM_NODEID": "0", "SLURM_LOCALID": "0"}
    watch = f'sh "{job}/script"; echo $? > "{job}/code"'
    process = subprocess.Popen(
        ["sh", "-c", watch],
        env=os.environ | own,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    (job / "pid").write_text(str(process.pid))
    print(f"Submitted batch job {number}")


def srun(arguments):
    number = os.environ["SLURM_JOB_ID"]
    while arguments[0].startswith("--"):
        option = arguments.pop(0)
        if option in ("--output", "--error"):
            name = arguments.pop(0).replace("%j", number).replace("%t", "0")
            Path(name).parent.mkdir(parents=True, exist_ok=True)  # submitit may not have yet
            opened = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
            os.dup2(opened, 1 if option == "--output" else 2)
    (SPOOL / number / "step").write_text(str(os.getpid()))
    os.execvp(arguments[0], arguments)


def sacct(arguments):
    print("JobID|State|NodeList")
    for flag, number in itertools.pairwise(arguments):
        if flag == "-j":
            print(f"{number}|{_state(SPOOL / number)}|here")


def _state(job):
    if (job / "ended").exists():
        return (job / "ended").read_text()
    code = (job / "code").read_text().strip() if (job / "code").exists() else ""
    return {"": "RUNNING", "0": "COMPLETED"}.get(code, "FAILED")


def scancel(arguments):
    """``--signal`` goes to the step; without one the job gets two seconds."""
    *options, number = arguments
    job = SPOOL / number
    step = int((job / "step").read_text())
    with (job / "signals").open("a") as told:
        print(*options, file=told)
    if options:
        os.kill(step, signal.Signals[f"SIG{options[0].partition('=')[2]}"])
        return
    (job / "ended").write_text(f"CANCELLED by {os.getuid()}")
    os.kill(step, signal.SIGTERM)
    time.sleep(2)
    with contextlib.suppress(ProcessLookupError):
        os.kill(step, signal.SIGKILL)


if __name__ == "__main__":
    globals()[Path(sys.argv[0]).name](sys.argv[1:])
