"""A Hydra application whose jobs live or die as they are told; started as a script."""

import ctypes
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig

from harnest.cli.app import errors_as_lines
from harnest.study import (
    Replicate,
    Replicates,
    StudyTask,
    current_trial,
    is_packed,
    synchronize,
    trial_loop,
)


def live(cfg):
    directory = Path(HydraConfig.get().runtime.output_dir)
    facts = {"pid": os.getpid(), "start": time.time()}
    facts |= {key: os.environ.get(key) for key in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")}
    torch = sys.modules.get("torch")
    if torch is not None:
        facts |= {"threads": torch.get_num_threads(), "cuda": torch.cuda.is_initialized()}
    print("alive", flush=True)
    trial = current_trial()
    if trial is not None:
        trial.report(cfg.seconds, 0)
        if cfg.do == "prune":
            trial.report(1e6, 1)
            if trial.should_prune():
                return None
    if cfg.do == "divide":
        return Replicates(
            tuple(Replicate(do, (f"do={do}",)) for do in ("error", "linger", "finish"))
        )
    note(facts, directory)
    try:
        time.sleep(cfg.seconds)
    except KeyboardInterrupt:
        if cfg.do != "ignore":
            raise
        time.sleep(300)
    facts["met"] = [met_by(cfg) for _ in range(cfg.meetings if is_packed() else 0)]
    end(cfg.do)
    note(facts | {"end": time.time()}, directory)
    return Slow(cfg.seconds) if cfg.do == "finish-slowly" else cfg.seconds


def note(facts, directory):
    """Write facts where tests wait for them: whole, or not at all."""
    new = directory / "facts.new"
    new.write_text(json.dumps(facts))
    new.replace(directory / "facts.json")


class Slow(float):
    """A number that takes a while to be sent."""

    def __reduce__(self):
        time.sleep(0.7)
        return float, (float(self),)


def met_by(cfg):
    """How many came to a meeting, and what this job is told of itself afterwards."""
    part = {"seconds": cfg.seconds}
    synchronize(part, together)
    print(f"{cfg.seconds} met", flush=True)
    logging.getLogger(__name__).info("%s met", cfg.seconds)
    told = (os.environ["HARNEST_TRIAL"], str(HydraConfig.get().job.num))
    return [part["came"], *told]


def together(parts):
    time.sleep(0.05)
    if any(part["seconds"] == 0.013 for part in parts):
        raise ValueError("nothing comes of it")
    for part in parts:
        part["came"] = len(parts)


def end(do):
    if do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif do == "cull":
        children = Path(f"/proc/{os.getppid()}/task/{os.getppid()}/children").read_text()
        waiting = {int(pid) for pid in children.split()} - {os.getpid()}
        if os.fork() == 0:  # so that it dies before they do
            for pid in [os.getppid(), *waiting]:
                os.kill(pid, signal.SIGKILL)
            os._exit(0)
        time.sleep(300)
    elif do == "crash":
        ctypes.string_at(0)
    elif do == "memory":
        resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
        bytearray(2**33)
    elif do == "diverge":
        raise FloatingPointError("the loss is not a number")
    elif do == "error":
        raise ValueError("no luck")
    elif do == "disk":
        with Path("/dev/full").open("w") as full:
            full.write("x")
    elif do == "hang":
        time.sleep(300)
    elif do == "devour":
        pages = []
        while True:
            pages.append(b"x" * 2**24)
    elif do == "fill":
        with Path(HydraConfig.get().runtime.output_dir, "big").open("wb", buffering=0) as big:
            while not Path("room").exists():
                big.write(b"x" * 512)
    elif do == "linger":
        time.sleep(4)
    elif do == "forget":
        del os.environ["HARNEST_TRIAL"]
    elif do == "quit":
        sys.exit(0)
    elif do == "leave":
        os._exit(3)
    elif do == "vanish":
        os._exit(0)
    elif do == "signal":
        os.kill(os.getpid(), signal.SIGRTMIN + 6)
        time.sleep(300)
    elif str(do).startswith("detach"):
        threading.Thread(target=time.sleep, args=[300]).start()


def main():
    if "SWEEPER_GRACE" in os.environ:  # seconds that interrupted trials have
        trial_loop._GRACE = float(os.environ["SWEEPER_GRACE"])
    with errors_as_lines():
        folder = Path(__file__).with_name("mortal")
        hydra.main(config_path=str(folder), config_name="app", execution_whitelist="harnest.*")(
            StudyTask(live, synchronizes=True)
        )()


if __name__ == "__main__":
    main()
