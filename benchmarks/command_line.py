"""``--help`` and ``--cfg job``, what is asked before anything runs, beside a bare Hydra app.

    python benchmarks/command_line.py [TIMES]

The bare app is the ten lines of Hydra's first tutorial, with one config of two keys, in the same
environment and thus beside the same plugins. Its and our commands take turns, after a turn that is
not counted. Medians of TIMES (default 15) whole commands, in seconds, and of the ratios pair by
pair.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("harnest-train")
FLAGS = ("--help", "--cfg job")
BARE = """\
import hydra
from omegaconf import DictConfig


@hydra.main(config_path=".", config_name="config")
def main(cfg: DictConfig) -> None:
    print(cfg.lr)


if __name__ == "__main__":
    main()
"""


def figures(times: int = 15) -> dict[str, float]:
    """Ratios by flag, and the seconds of both commands."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "app.py").write_text(BARE)
        (folder / "config.yaml").write_text("lr: 0.1\nepochs: 3\n")
        for flags in FLAGS:
            commands = {"ours": [PROGRAM], "bare": [sys.executable, "app.py"]}
            took: dict[str, list[float]] = {way: [] for way in commands}
            for turn in range(times + 1):
                for way, command in commands.items():
                    seconds = timed([*command, *flags.split()], folder)
                    if turn:
                        took[way].append(seconds)
            ratios = [a / b for a, b in zip(took["ours"], took["bare"], strict=True)]
            found[flags] = statistics.median(ratios)
            for way, seconds_of_way in took.items():
                found[f"{flags} {way}"] = statistics.median(seconds_of_way)
    return found


def timed(command: list[str | Path], folder: Path) -> float:
    """Seconds of a whole command."""
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Print a row for each flag."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    found = figures(times)
    print(f"{times} times each: medians\n{'':12}{'ours':>8}{'bare':>8}{'ratio':>8}")
    for flags in FLAGS:
        ours, bare = found[f"{flags} ours"], found[f"{flags} bare"]
        print(f"{flags:12}{ours:>8.3f}{bare:>8.3f}{found[flags]:>8.2f}")


if __name__ == "__main__":
    main()
