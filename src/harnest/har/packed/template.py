"""The template network that vmap calls with the weights of each member of a pack."""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from harnest.core.errors import ConfigError
from harnest.har.networks.dropout import bernoulli, noise
from harnest.har.networks.recurrence import StackedGRU, StackedLSTM
from harnest.har.packed.dropout import PackedDropout
from harnest.har.packed.recurrence import PackedRecurrence

#: Options that may differ between networks; each network uses its own.
_OWN: dict[type[nn.Module], str] = {
    **dict.fromkeys((nn.Dropout, nn.Dropout1d), "p"),
    **dict.fromkeys((nn.LSTM, nn.GRU, StackedLSTM, StackedGRU), "dropout"),
}

#: Modules that vmap does not support, or only with equal options in all networks.
_REFUSED = (nn.RNN, nn.RNNCellBase, nn.MultiheadAttention)


def template_of(networks: Sequence[nn.Module], generators: Sequence[torch.Generator]) -> nn.Module:
    """Return a copy of the first network that vmap can call with the weights of each.

    LSTMs, GRUs and dropouts are replaced by those of `harnest.har.packed`; parameter names are
    unchanged.

    Args:
        networks: The networks.
        generators: The random number generator of each network's dropout.

    Raises:
        ConfigError: A network cannot be packed, or the networks differ in more than their weights
            and dropout rates.
    """
    if any(_layout(network) != _layout(networks[0]) for network in networks):
        raise unsupported_error(networks[0], "its layers or sizes differ between trials")
    template = copy.deepcopy(networks[0])
    for name, module in networks[0].named_modules():
        alike = [network.get_submodule(name) for network in networks]
        if isinstance(module, _REFUSED):
            raise unsupported_error(networks[0], f"it holds {type(module).__name__}")
        if any(_options(one) != _options(module) for one in alike):
            raise unsupported_error(
                networks[0], f"options of {name or 'the network'} differ between trials"
            )
        if type(module) in (nn.Dropout, nn.Dropout1d):
            rates = [float(one.p) for one in alike]  # type: ignore[arg-type]
            is_whole = isinstance(module, nn.Dropout1d)
            packed: nn.Module = PackedDropout(rates, generators, whole=is_whole)
        elif isinstance(module, nn.LSTM | nn.GRU):
            if module.proj_size:
                raise unsupported_error(networks[0], "its LSTM has a projection (proj_size)")
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
    """Return the error for a network that cannot be packed."""
    return ConfigError(
        f"{type(network).__name__} cannot be packed: {why}; choose hydra/launcher=slots"
    )


def _layout(network: nn.Module) -> object:
    shapes = [(name, tensor.shape) for name, tensor in network.state_dict().items()]
    return [name for name, _ in network.named_modules()], shapes


def _options(module: nn.Module) -> dict[str, object]:
    """Return a module's options: plain attributes, except those that may differ."""
    plain = (bool, int, float, str, tuple, type(None))
    own = _OWN.get(type(module))
    return {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, plain) and key not in (own, "training")
    }
