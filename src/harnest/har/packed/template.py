"""The network that a pack calls with the weights of each of its classifiers."""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from harnest.core.errors import ConfigError
from harnest.har.networks.dropout import bernoulli, noise
from harnest.har.networks.recurrence import StackedGRU, StackedLSTM
from harnest.har.packed.dropout import PackedDropout
from harnest.har.packed.recurrence import PackedRecurrence

#: Options that may differ, since every network's own is used.
_OWN: dict[type[nn.Module], str] = {
    **dict.fromkeys((nn.Dropout, nn.Dropout1d), "p"),
    **dict.fromkeys((nn.LSTM, nn.GRU, StackedLSTM, StackedGRU), "dropout"),
}

#: What vmap cannot take, or only with the options of one network.
_REFUSED = (nn.RNN, nn.RNNCellBase, nn.MultiheadAttention)


def template_of(networks: Sequence[nn.Module], generators: Sequence[torch.Generator]) -> nn.Module:
    """A copy of the first network for vmap to call with the weights of each.

    Its LSTMs, GRUs and dropouts give way to those of `harnest.har.packed`; the weights keep
    their names. Raises `ConfigError` for networks that cannot be packed, or differ in more than
    their weights and rates of dropout.
    """
    if any(_layout(network) != _layout(networks[0]) for network in networks):
        raise unsupported_error(networks[0], "it has other layers or sizes in another trial")
    template = copy.deepcopy(networks[0])
    for name, module in networks[0].named_modules():
        alike = [network.get_submodule(name) for network in networks]
        if isinstance(module, _REFUSED):
            raise unsupported_error(networks[0], f"it holds {type(module).__name__}")
        if any(_options(one) != _options(module) for one in alike):
            raise unsupported_error(
                networks[0], f"{name or 'it'} has other options in another trial"
            )
        if type(module) in (nn.Dropout, nn.Dropout1d):
            rates = [float(one.p) for one in alike]  # type: ignore[arg-type]
            is_whole = isinstance(module, nn.Dropout1d)
            packed: nn.Module = PackedDropout(rates, generators, whole=is_whole)
        elif isinstance(module, nn.LSTM | nn.GRU):
            if module.proj_size:
                raise unsupported_error(networks[0], "its LSTM projects its states")
            rates = [float(one.dropout) for one in alike]  # type: ignore[arg-type]
            is_ours = isinstance(module, StackedLSTM | StackedGRU)
            between = PackedDropout(rates, generators, of_one=noise if is_ours else bernoulli)
            packed = PackedRecurrence(module, between)
        else:
            continue
        if not name:
            return packed
        template.set_submodule(name, packed)
    return template


def unsupported_error(network: nn.Module, why: str) -> ConfigError:
    """The error for a ``network`` that cannot be packed."""
    return ConfigError(
        f"{type(network).__name__} cannot be packed: {why}; choose hydra/launcher=slots"
    )


def _layout(network: nn.Module) -> object:
    shapes = [(name, tensor.shape) for name, tensor in network.state_dict().items()]
    return [name for name, _ in network.named_modules()], shapes


def _options(module: nn.Module) -> dict[str, object]:
    """The options of a module that its weights do not determine."""
    plain = (bool, int, float, str, tuple, type(None))
    own = _OWN.get(type(module))
    return {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, plain) and key not in (own, "training")
    }
