"""One training epoch beside a plain PyTorch loop, on the same tensors, in batches of the same size.

    [HAPT=FILE] python benchmarks/epoch.py [EPOCHS] [OVERRIDE ...]

Each epoch of the assembled run is followed by one of the plain loop, in a process of its own that
has what it needs already, so that what else the machine does meets both, and what one does to its
process helps it alone. The plain loop does what any tutorial's does: forward, cross entropy,
backward, clip, step, the epoch's mean loss and accuracy, and the same two on the validation
windows. The first epoch of each is left out. Times are medians in seconds, the ratio is the median
of the ratios pair by pair.
"""

import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytorch_lightning as L
import torch
from hapt import archive
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import Tensor, nn

from harnest.core.paths import CONFIG_DIR
from harnest.har.components import make_classifier, make_data
from harnest.training.components import assemble

CASES = {
    f"{name}, {data}": [f"data={data}", *network]
    for data in ("watch", "hapt")
    for name, network in (
        ("LSTM 64x1", ["model=lstm", "model.hidden_size=64", "model.layers=1"]),
        ("LSTM 64x2", ["model=lstm", "model.hidden_size=64", "model.layers=2"]),
        ("FCN", ["model=fcn"]),
    )
}


class Beside(L.Callback):
    """Times each training epoch, and then has one of the plain loop timed."""

    def __init__(self, plain: ProcessPoolExecutor) -> None:
        self.plain = plain
        self.times: list[tuple[float, float]] = []

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to count."""
        self.began = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop, and let the plain loop run."""
        ours = time.perf_counter() - self.began
        self.times.append((ours, self.plain.submit(plain_seconds).result()))


class Plain:
    """The plain loop: an untrained network, and windows that are normalised already."""

    made: "Plain"

    def __init__(self, cfg: DictConfig) -> None:
        torch.set_num_threads(cfg.threads)
        data = make_data(cfg)
        classifier = make_classifier(cfg, data)
        assert classifier.make_optimizer is not None
        self.network = classifier.network
        self.optimizer = classifier.make_optimizer(self.network.parameters())
        self.batch_size = data.batch_size
        self.train, self.validation = (
            ((signals - classifier.mean) / classifier.std, labels)
            for signals, labels in map(data.tensors, ("train", "validation"))
        )


def make_plain(cfg: DictConfig) -> None:
    """Make the plain loop of this process."""
    Plain.made = Plain(cfg)


def plain_seconds() -> float:
    """Seconds of one epoch of the plain loop, validation included."""
    plain = Plain.made
    began = time.perf_counter()
    plain_epoch(plain.network, plain.optimizer, *plain.train, plain.batch_size)
    plain_scores(plain.network, *plain.validation, plain.batch_size)
    return time.perf_counter() - began


def plain_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    signals: Tensor,
    labels: Tensor,
    batch_size: int,
) -> tuple[float, float]:
    """Train one epoch as a tutorial does; returns mean loss and accuracy."""
    network.train()
    total, right = 0.0, 0
    for chosen in torch.randperm(len(labels)).split(batch_size):
        x, y = signals[chosen], labels[chosen]
        logits = network(x)
        loss = nn.functional.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        total += float(loss.detach()) * len(y)
        right += int((logits.argmax(dim=1) == y).sum())
    return total / len(labels), right / len(labels)


@torch.no_grad()
def plain_scores(
    network: nn.Module, signals: Tensor, labels: Tensor, batch_size: int
) -> tuple[float, float]:
    """Mean loss and accuracy on windows that are not trained on."""
    network.eval()
    total, right = 0.0, 0
    for x, y in zip(signals.split(batch_size), labels.split(batch_size), strict=True):
        logits = network(x)
        total += float(nn.functional.cross_entropy(logits, y)) * len(y)
        right += int((logits.argmax(dim=1) == y).sum())
    return total / len(labels), right / len(labels)


def measure(overrides: list[str], epochs: int) -> list[tuple[float, float]]:
    """Pairs of seconds, ours and the plain loop's, without the first epoch."""
    packed = archive()
    if "data=hapt" in overrides and packed is not None:
        overrides = [*overrides, f"data.archive='{packed}'"]
    with initialize_config_dir(str(CONFIG_DIR)):
        cfg = compose(
            "train",
            [
                *overrides,
                "trainer=cpu",
                "logger=none",
                "callbacks=none",
                f"trainer.max_epochs={epochs + 1}",
                "trainer.enable_progress_bar=false",
            ],
        )
    alone = ProcessPoolExecutor(1, get_context("spawn"), make_plain, [cfg])
    with tempfile.TemporaryDirectory() as folder, alone as plain:
        parts = assemble(cfg, Path(folder))
        beside = Beside(plain)
        parts.trainer.callbacks.append(beside)
        parts.trainer.fit(parts.module, datamodule=parts.data)
    return beside.times[1:]


def figures(epochs: int = 5) -> dict[str, float]:
    """The ratio of each case; those of HAPT where its archive is."""
    return {
        name: ratio(measure(overrides, epochs))
        for name, overrides in CASES.items()
        if "data=hapt" not in overrides or archive() is not None
    }


def ratio(times: list[tuple[float, float]]) -> float:
    """Ours to the plain loop's, pair by pair."""
    return statistics.median(ours / plain for ours, plain in times)


def main() -> None:
    """Print one row for each case."""
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    more = sys.argv[2:]
    print(f"{'':20}{'ours':>8}{'plain':>8}{'ratio':>8}")
    for name, overrides in CASES.items():
        times = measure([*overrides, *more], epochs)
        ours, plain = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{name:20}{ours:>8.3f}{plain:>8.3f}{ratio(times):>8.3f}", flush=True)


if __name__ == "__main__":
    main()
