"""An epoch of one trial beside one of the stock yardstick's, on the same GPU.

    python benchmarks/on_gpu.py [EPOCHS [OVERRIDE ...]]

ours   harnest-train as it is, its record, checkpoints and metrics included; then in bf16, and
       kernel by kernel, without the CUDA graph of its training steps
stock  yardstick (b)'s trial, yardsticks/stock.py: DataLoader, ModelCheckpoint, MLFlowLogger

The same network, an LSTM of 64 units unless overridden for ours, and the same windows of watch, in
batches of 64. An epoch is one whole turn of Lightning's loop, validation included, from the start
of one to the start of the next; medians of EPOCHS, without the first two.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from clock import LEFT_OUT

HERE = Path(__file__).parent
PROGRAM = Path(sys.executable).with_name("harnest-train")
WAYS = {
    "as it is": (),
    "bf16": ("trainer.precision=bf16-mixed",),
    "no graph": ("cuda_graph=false",),
}


def figures(epochs: int = 6) -> dict[str, float]:
    """Our windows in the time of one of the yardstick's; none without a GPU."""
    if not torch.cuda.is_available():
        return {}
    theirs = stock(epochs)
    found = {way: theirs / ours(epochs, *overrides) for way, overrides in WAYS.items()}
    return {**found, "stock epoch": theirs}


def ours(epochs: int, *overrides: str) -> float:
    """Seconds of an epoch of this project's."""
    options = (
        *("data=watch", "model=lstm", "model.hidden_size=64", "model.layers=1", "trainer=gpu"),
        "++callbacks.early_stopping=null",
        f"trainer.max_epochs={epochs + LEFT_OUT}",
        *("+callbacks.clock._target_=clock.Clock", "+callbacks.clock.file=epoch.json"),
    )
    return timed([PROGRAM, *options, *overrides])


def stock(epochs: int) -> float:
    """Seconds of an epoch of yardstick (b)'s."""
    options = ("accelerator=gpu", f"epochs={epochs + LEFT_OUT}", "clock=epoch.json")
    return timed([sys.executable, HERE / "yardsticks" / "stock.py", *options])


def timed(command: list[str | Path]) -> float:
    """Run a command whose clock writes a file."""
    surroundings = os.environ | {"PYTHONPATH": str(HERE), "HARNEST_TRUST": "clock"}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, env=surroundings, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        (file,) = Path(folder).rglob("epoch.json")
        return float(json.loads(file.read_text()))


def main() -> None:
    """Print one row for each."""
    if not torch.cuda.is_available():
        raise SystemExit("there is no GPU here that torch can use")
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    theirs = stock(epochs)
    print(f"{torch.cuda.get_device_name()}\n{'':12}{'epoch [s]':>10}{'times':>7}")
    print(f"{'stock':12}{theirs:>10.3f}{1:>7.2f}")
    for way, overrides in WAYS.items():
        one = ours(epochs, *overrides, *sys.argv[2:])
        print(f"{way:12}{one:>10.3f}{theirs / one:>7.2f}", flush=True)


if __name__ == "__main__":
    main()
