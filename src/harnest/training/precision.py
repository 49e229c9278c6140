"""Number formats: which ones a device can compute, and which are fast."""

import copy

import pytorch_lightning as L
import torch
from pytorch_lightning.plugins.precision import MixedPrecision, Precision
from torch import Tensor, nn

from harnest.training.config import FULL_PRECISIONS


def auto_precision(accelerator: str) -> str:
    """bf16-mixed where the device of an ``accelerator`` multiplies bfloat16, else 32-true.

    GPUs since Ampere do, and processors with AVX512-BF16 or AMX; emulated, it would be slower.
    """
    if accelerator != "cpu" and torch.cuda.is_available():
        has_it = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # torch has no public name for these before 2.11.
        has_it = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        # oneDNN may use fewer instructions than the CPU has (ONEDNN_MAX_CPU_ISA).
        has_it = has_it and _computes_lstm()
    return "bf16-mixed" if has_it else "32-true"


def precision_error(trainer: L.Trainer, network: nn.Module, windows: Tensor) -> str | None:
    """Say why the CPU cannot compute ``network`` in the half precision of ``trainer``.

    It is tried, on a copy: what torch computes in half precision depends on the operation, the CPU
    and the version of torch. Without AVX-512, for example, an LSTM fails under autocast.

    Args:
        trainer: A trainer of any precision. Nothing is tried, and nothing found, where it computes
            on another device or in full precision.
        network: Any network, still on the CPU; it stays as it is.
        windows: A few inputs, (batch, time, channels) in float32.

    Returns:
        The first sentence of torch's error, or None where nothing fails. Also None for a network
        that fails in float32 as well, which says nothing about the format.
    """
    if trainer.strategy.root_device.type != "cpu" or trainer.precision in FULL_PRECISIONS:
        return None
    return _error(network, windows, trainer.precision_plugin)


def _error(network: nn.Module, windows: Tensor, plugin: Precision) -> str | None:
    error = _try(network, windows, plugin)
    if error is None or _try(network, windows, Precision()) is not None:
        return None
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].split(". ")[0].rstrip(".")


def _try(network: nn.Module, windows: Tensor, plugin: Precision) -> Exception | None:
    """The error of a training step and an evaluation, if any; random numbers stay as they were."""
    try:
        with torch.random.fork_rng(devices=[]):
            copied = plugin.convert_module(copy.deepcopy(network))
            inputs = plugin.convert_input(windows)
            with plugin.forward_context():
                outputs = copied.train()(inputs)
            outputs.float().sum().backward()
            with torch.no_grad(), plugin.forward_context():
                copied.eval()(inputs)
    except Exception as error:  # of any kind: the network may be anybody's
        return error
    return None


class _OneLSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.lstm(x)[0]
        return outputs


def _computes_lstm() -> bool:
    with torch.random.fork_rng(devices=[]):
        network = _OneLSTM()
    return _error(network, torch.zeros(2, 4, 4), MixedPrecision("bf16-mixed", "cpu")) is None
