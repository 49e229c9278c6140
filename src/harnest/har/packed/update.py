"""Optimizer steps of several networks at once, whose weights are the rows of a matrix."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from harnest.core.errors import ConfigError

Moments = Mapping[str, Tensor]


@dataclass(frozen=True)
class Rule:
    """The update rule of a torch optimizer.

    ``moments`` are torch's names of its state per weight. ``rates`` reads the hyperparameters from
    a param group. ``apply`` takes weights, gradient and moments, (k, weights), the step count and
    the rates, (k, 1) each, and updates weights and moments in place.
    """

    moments: tuple[str, ...]
    rates: Callable[[Mapping[str, Any]], Sequence[float]]
    apply: Callable[[Tensor, Tensor, Moments, Tensor, Sequence[Tensor]], None]


def rule_of(optimizers: Sequence[Optimizer]) -> Rule:
    """Return the update rule of ``optimizers``; raises `ConfigError` without a common one."""
    kind, *others = {_kind(optimizer) for optimizer in optimizers}
    if others:
        raise ConfigError(
            "trials of different optimizers cannot be packed; take it out of "
            "hydra.launcher.varying_keys"
        )
    rule = _RULES.get(kind)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    odd = [
        name
        for name in ("amsgrad", "maximize", "dampening")
        if any(group.get(name) for group in groups)
    ]
    if rule is None or odd or len(groups) != len(optimizers):
        what = f"{kind.__name__} with {odd[0]}" if odd else kind.__name__
        known = ", ".join(one.__name__ for one in _RULES)
        raise ConfigError(
            f"optimizer {what} cannot be packed; {known} with one group of weights can; choose "
            "one of them, or hydra/launcher=slots"
        )
    return rule


def _kind(optimizer: Optimizer) -> type[Optimizer]:
    """Return the optimizer's class: AdamW for an Adam with decoupled weight decay."""
    is_adamw = type(optimizer) is torch.optim.Adam and optimizer.defaults["decoupled_weight_decay"]
    return torch.optim.AdamW if is_adamw else type(optimizer)


def _adam_rates(group: Mapping[str, Any]) -> Sequence[float]:
    return (group["lr"], group["weight_decay"], *group["betas"], group["eps"])


def _adam(
    weights: Tensor, gradient: Tensor, moments: Moments, step: Tensor, rates: Sequence[Tensor]
) -> None:
    """Kingma & Ba, "Adam: A Method for Stochastic Optimization", 2015, algorithm 1."""
    lr, decay, beta1, beta2, eps = rates
    _adam_step(weights, gradient + decay * weights, moments, step, (lr, beta1, beta2, eps))


def _adamw(
    weights: Tensor, gradient: Tensor, moments: Moments, step: Tensor, rates: Sequence[Tensor]
) -> None:
    """Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019, algorithm 2."""
    lr, decay, beta1, beta2, eps = rates
    weights.mul_(1 - lr * decay)
    _adam_step(weights, gradient, moments, step, (lr, beta1, beta2, eps))


def _adam_step(
    weights: Tensor, gradient: Tensor, moments: Moments, step: Tensor, rates: Sequence[Tensor]
) -> None:
    lr, beta1, beta2, eps = rates
    mean = moments["exp_avg"].lerp_(gradient, 1 - beta1)
    square = moments["exp_avg_sq"].mul_(beta2).add_((1 - beta2) * gradient.square())
    deviation = square.sqrt().div_((1 - beta2**step).sqrt()).add_(eps)
    weights.sub_(lr / (1 - beta1**step) * mean / deviation)


def _sgd_rates(group: Mapping[str, Any]) -> Sequence[float]:
    return (group["lr"], group["weight_decay"], group["momentum"], float(group["nesterov"]))


def _sgd(
    weights: Tensor, gradient: Tensor, moments: Moments, step: Tensor, rates: Sequence[Tensor]
) -> None:
    """Sutskever et al., "On the importance of initialization and momentum", 2013, as in torch."""
    lr, decay, momentum, nesterov = rates
    gradient = gradient + decay * weights
    kept = moments["momentum_buffer"].mul_(momentum).add_(gradient)
    ahead = torch.addcmul(gradient, momentum, kept)
    weights.sub_(lr * torch.where(nesterov > 0, ahead, kept))


_RULES: Mapping[type[Optimizer], Rule] = {
    torch.optim.AdamW: Rule(("exp_avg", "exp_avg_sq"), _adam_rates, _adamw),
    torch.optim.Adam: Rule(("exp_avg", "exp_avg_sq"), _adam_rates, _adam),
    torch.optim.SGD: Rule(("momentum_buffer",), _sgd_rates, _sgd),
}
