"""The windows that every yardstick trains on: those of ``data=watch``, normalised."""

from hydra import compose, initialize_config_dir
from torch import Tensor

from harnest.core.paths import CONFIG_DIR
from harnest.har.classifier import channel_statistics
from harnest.har.components import make_data


def windows() -> dict[str, tuple[Tensor, Tensor]]:
    """Signals (n, time, channels) and labels (n,) of ``train`` and ``validation``."""
    with initialize_config_dir(str(CONFIG_DIR)):
        data = make_data(compose("train", ["data=watch"]))
    mean, std = channel_statistics(data.tensors("train")[0])
    parts = {part: data.tensors(part) for part in ("train", "validation")}
    return {part: ((signals - mean) / std, labels) for part, (signals, labels) in parts.items()}
