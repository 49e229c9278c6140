"""A Hydra application that is none of harnest's: it squares x, or dies as it is told."""

import json
import os
import time
from pathlib import Path

import hydra
import optuna
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from harnest.cli.app import errors_as_lines
from harnest.study import Replicate, Replicates, current_trial

CONF = Path(__file__).with_name("conf")


def square(cfg: DictConfig):
    running = HydraConfig.get()
    seen = {"job": running.job.get("num"), "cfg": OmegaConf.to_container(cfg)}
    Path(running.runtime.output_dir, "seen.json").write_text(json.dumps(seen))
    print(f"working on {running.job.get('num')}", flush=True)
    trial = current_trial()
    if trial is not None and "hide" not in (cfg.do, _told(cfg)):
        endless = {"up": float("inf"), "down": float("-inf")}.get(_told(cfg), 0.0)
        trial.measured({"n": cfg.n, "twice": 2 * cfg.x, "endless": endless})
    is_whole = cfg.do != "divide" or "HARNEST_REPLICATE" in os.environ
    for step in range(cfg.steps if is_whole else 0):
        if trial is None:
            continue
        factor = step + 1 if cfg.do == "worsen" else 1 / (step + 1)
        if str(cfg.do).startswith("nan") and _is_meant(cfg, running):
            factor = float("nan")
        trial.report(cfg.x**2 * factor, step)
        if trial.should_prune():
            return None
    return _end(cfg, str(cfg.do).partition("@")[0] if _is_meant(cfg, running) else "square")


def _is_meant(cfg: DictConfig, running) -> bool:
    """``do=WHAT@NUMBER`` is for one trial only."""
    only = str(cfg.do).partition("@")[2]
    return only == "" or running.job.get("num") == int(only)


def _end(cfg: DictConfig, do: str):
    if do == "divide":
        return _divide(cfg)
    if do == "fall":
        _wait_for(Path("fall"))
    if do in ("fail", "fall"):
        raise ValueError(f"no luck with x={cfg.x}\nand more of it")
    if do == "shout":
        raise ValueError("ä" * 90_000)
    if do == "memory":
        raise MemoryError
    if do == "gpu_memory":
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")  # as torch says it
    if do == "diverge":
        raise FloatingPointError("the loss is not a number")
    if do == "prune":
        raise optuna.TrialPruned
    if do == "interrupt":
        raise KeyboardInterrupt
    if do == "hang":
        _wait_for(Path("release"))
        print("released", flush=True)
    answers = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}
    answers |= {"text": "none of your numbers", "none": None}
    if do in answers:
        return answers[do]
    return [cfg.x**2, -cfg.x] if do == "pair" else cfg.x**2


def _divide(cfg: DictConfig):
    """A score that is the mean of four replicates'; ``text`` names some that end in another way."""
    replicate = os.environ.get("HARNEST_REPLICATE")
    if replicate is None:
        name = "n={}, größte (x)" if cfg.flag else "part-{}"
        given = "nothing=1" if _told(cfg) == "mistake" else "n={}"
        replicates = [Replicate(name.format(n), (given.format(n),)) for n in range(4)]
        return Replicates(tuple(replicates))
    return _end(cfg, _told(cfg)) if _told(cfg) else cfg.x**2 + cfg.n


def _told(cfg: DictConfig) -> str:
    """How ``text`` says that the replicate n ends, or "" where it says nothing of it."""
    ends = (end.partition("@") for end in str(cfg.text).split("+"))
    return next((what for what, _, number in ends if number == str(cfg.n)), "")


def _wait_for(file: Path) -> None:
    deadline = time.monotonic() + 600
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def main() -> None:
    with errors_as_lines():
        hydra.main(str(CONF), "app", execution_whitelist=("harnest.*",))(square)()


if __name__ == "__main__":
    # What a study needs of a process is its own.
    os.environ.pop("HARNEST_TRIAL", None)
    main()
