"""Instantiates config nodes whose ``_target_`` is trusted."""

import re
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from harnest.core.errors import ConfigError, HarnestError
from harnest.core.trust import trusted


def build(node: DictConfig | None, **arguments: Any) -> Any:
    """Instantiate the ``_target_`` of ``node``; None without one.

    Raises:
        ConfigError: The target is not trusted, does not exist, or rejects its arguments.
    """
    if node is None or node.get("_target_") is None:
        return None
    # On its own: Hydra copies the whole config that a node is a part of.
    plain = OmegaConf.to_container(node, resolve=True)
    try:
        return instantiate(plain, **arguments, _execution_whitelist_=trusted(), _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, HarnestError):
            raise cause from error
        raise ConfigError(_error_text(str(node._target_), error)) from error
    except (TypeError, ValueError, ImportError, AttributeError, MisconfigurationException) as error:
        raise ConfigError(_error_text(str(node._target_), error)) from error


def _error_text(target: str, error: Exception) -> str:
    text = "; ".join(line.strip() for line in str(error.__cause__ or error).strip().splitlines())
    refused = re.match(r"Target '([^']+)'", text)  # this one, or one inside it
    target = refused[1] if refused else target
    if "cannot be authorized" in text:
        return f"_target_: {target} runs whatever its arguments say: a config may not call it"
    if "whitelist" in text:
        package = target.partition(".")[0]
        return (
            f"_target_: {target} is not trusted; if it is code of your own, "
            f"say so with the environment variable HARNEST_TRUST={package}"
        )
    return f"_target_: {target} cannot be made: {text}"


def build_each(group: DictConfig | None) -> list[Any]:
    """The members of a group that holds several, without those switched off by null."""
    made = (build(node) for node in (group or {}).values())
    return [member for member in made if member is not None]
