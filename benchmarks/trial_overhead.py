"""Everything in a trial that is not training: the demo's study beside the bare training.

    python benchmarks/trial_overhead.py [ROUNDS [TRIALS [EPOCHS]]]

A round is a session of the study ``sweep=quick`` on one slot, with MLflow and all else that is on
by default, and then the same training without any of it: the same windows, network, seed and epochs
in a plain ``Trainer.fit`` of Lightning's without logger, callbacks and checkpoints, which validates
each epoch as well. Only the learning rate is searched, so that all trainings are equally long;
nothing is pruned, though the pruner is asked. TRIALS (default 4) of each count in each of ROUNDS
(default 3); the first trial of a session, whose warm process is not warm yet, and the first
training of the plain process do not.

before   from the sweeper's decision for the trial to its first training batch
within   from the first batch to the last one of the last validation, less the same without all
after    from the last batch to the moment at which the study knows the result
in all   the sum of these three, trial by trial
next     from then to the decision for the next trial: the sweeper's own record

Medians in seconds.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

from moments import FIRST, LAST, NOTED, TRUSTED, noted

PROGRAM = Path(sys.executable).with_name("harnest-train")
FIXED = (
    *("trainer=cpu", "model.hidden_size=32", "model.layers=1", "model.dropout=0.2"),
    *("model.pooling=mean", "trainer.precision=32-true"),  # as the plain training computes
)
STUDY = (
    *("-m", "sweep=quick", "hydra.launcher.cpu_slots=1", NOTED),
    "hydra.sweeper.pruner.n_startup_trials=1000",
)
EPOCHS = 8  # those of sweep=quick
PHASES = ("before", "within", "after", "in all", "next")


def figures(rounds: int = 3, trials: int = 4, epochs: int = EPOCHS) -> dict[str, float]:
    """Seconds of each phase."""
    options = [*FIXED, f"trainer.max_epochs={epochs}"]
    plain: list[float] = []
    spans: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for turn in range(rounds):
            first = turn * (trials + 2)
            sweep(folder, options, first + trials + 2)
            # The last one has no next.
            spans += [phases(*one) for one in moments(folder, range(first + 1, first + trials + 2))]
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                plain += process.submit(plain_seconds, folder, options, trials + 1).result()[1:]
    bare = statistics.median(plain)
    for span in spans:
        span["within"] = span["training"] - bare
        span["in all"] = span["before"] + span["within"] + span["after"]
    return {
        "plain": bare,
        **{phase: statistics.median(span[phase] for span in spans) for phase in PHASES},
    }


def sweep(folder: Path, options: list[str], budget: int) -> None:
    """Go on with the study up to ``budget`` trials."""
    done = subprocess.run(
        [PROGRAM, *STUDY, *options, f"hydra.sweeper.n_trials={budget}"],
        cwd=folder,
        env=os.environ | TRUSTED,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stderr)


def moments(folder: Path, numbers: range) -> Iterator[tuple[float, ...]]:
    """Of each trial but the last: decided, first batch, last batch, known; the next decided."""
    import optuna

    from harnest.study.storage.optuna_storage import journal_address, open_storage

    directory = folder / "multirun" / "quick"
    study = optuna.load_study(study_name="quick", storage=open_storage(journal_address(directory)))
    for trial, following in pairwise(study.trials[number] for number in numbers):
        place = directory / str(trial.number)
        yield (
            seconds(trial.datetime_start),
            noted(place, FIRST),
            noted(place, LAST),
            seconds(trial.datetime_complete),
            seconds(following.datetime_start),
        )


def seconds(moment: datetime | None) -> float:
    """Since the epoch of Unix."""
    assert moment is not None
    return moment.timestamp()


def phases(
    decided: float, first: float, last: float, known: float, following: float
) -> dict[str, float]:
    """How long each phase of a trial was, and its training."""
    return {
        "before": first - decided,
        "training": last - first,
        "after": known - last,
        "next": following - known,
    }


def plain_seconds(folder: Path, options: list[str], times: int) -> list[float]:
    """Seconds from the first to the last batch of plain trainings, in this process."""
    import pytorch_lightning as L
    from hydra import compose, initialize_config_dir
    from moments import Moments

    from harnest.core.paths import CONFIG_DIR
    from harnest.training.components import assemble

    with initialize_config_dir(str(CONFIG_DIR)):
        cfg = compose("train", [*options, "logger=none", "callbacks=none"])
    found = []
    for _ in range(times):
        parts = assemble(cfg, folder)
        trainer = L.Trainer(
            accelerator="cpu",
            max_epochs=cfg.trainer.max_epochs,
            gradient_clip_val=cfg.trainer.gradient_clip_val,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
            callbacks=[Moments()],
        )
        trainer.fit(parts.module, datamodule=parts.data)
        found.append(noted(folder, LAST) - noted(folder, FIRST))
    return found


def main() -> None:
    """Print a row for each phase."""
    given = [*sys.argv[1:4], *("3", "4", str(EPOCHS))[len(sys.argv[1:4]) :]]
    rounds, trials, epochs = map(int, given)
    found = figures(rounds, trials, epochs)
    print(f"{rounds * trials} trials: medians in seconds; the plain training {found['plain']:.2f}")
    for phase in PHASES:
        print(f"{phase:8}{found[phase]:>8.3f}")


if __name__ == "__main__":
    main()
