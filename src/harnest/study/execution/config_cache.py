"""Composes the configs of a sweep's jobs, with a cache."""

import copy
from collections.abc import Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

_KEPT = 16  # configs: a search has about as many architectures

#: Hydra keys whose values a session sets for each job.
_TOLD = ("hydra.job.env_set.", "hydra.sweep.subdir")


class ConfigCache:
    """Composes a job's config as Hydra does, or copies a cached one and updates its values.

    Hydra composes each job's config from files, which takes about 0.1 s. If the overrides of two
    jobs differ only in plain values, the second config is a copy of the first with its values.

    Args:
        loader: Hydra's config loader.
        config: The sweep's own config.
    """

    def __init__(self, loader: ConfigLoader, config: DictConfig) -> None:
        self.loader = loader
        self.config = config
        self.parser = OverridesParser.create()
        self._groups: dict[str, bool] = {}  # by override key: whether it is a group
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Return the config of a job with these overrides, given in Hydra's syntax."""
        parsed = self.parser.parse_overrides(list(overrides))
        values = self._values(parsed)
        kind = tuple(one.key_or_group if one in values else str(one.input_line) for one in parsed)
        if kind not in self._composed:
            if len(self._composed) == _KEPT:
                self._composed.clear()
            self._composed[kind] = self._compose_with_hydra(overrides)
        config = copy.deepcopy(self._composed[kind])
        try:
            for one in values:
                is_new = one.type == OverrideType.FORCE_ADD
                OmegaConf.update(config, one.key_or_group, one.value(), force_add=is_new)
        except OmegaConfBaseException:
            return self._compose_with_hydra(overrides)  # Hydra's error message is better
        # Unresolved: interpolations may refer to a password.
        before = OmegaConf.to_container(self.config.hydra.overrides.hydra, resolve=False)
        assert isinstance(before, list)
        told = config.hydra.overrides
        told.task = [one.input_line for one in parsed if not one.is_hydra_override()]
        told.hydra = before + [one.input_line for one in parsed if one.is_hydra_override()]
        return config

    def _compose_with_hydra(self, overrides: Sequence[str]) -> DictConfig:
        return self.loader.load_sweep_config(self.config, list(overrides))

    def _values(self, overrides: Sequence[Override]) -> list[Override]:
        """Return the overrides that only set a config key to a plain value.

        Excluded are Hydra's own keys, except `_TOLD`, and sections that another override changes
        in another way.
        """
        keys = [one for one in overrides if not self.is_group(one)]
        plain = [one for one in keys if _is_plain(one)]
        changed = {_section(one) for one in keys if one not in plain} | {"hydra"}
        return [one for one in plain if _is_told(one) or _section(one) not in changed]

    def is_group(self, override: Override) -> bool:
        """Return whether the override selects an option of a config group."""
        name = override.key_or_group
        if "/" in name:
            return True
        if name not in self._groups:
            # Same check as Hydra's. Listing all groups would require every file to be a config.
            sources = self.loader.get_sources()
            self._groups[name] = any(source.is_group(name) for source in sources)
        return self._groups[name]


def _is_plain(override: Override) -> bool:
    value = override.value()
    types = (OverrideType.CHANGE, *([OverrideType.FORCE_ADD] if _is_told(override) else []))
    is_change = override.type in types and override.package is None
    return is_change and (value is None or isinstance(value, str | int | float | bool))


def _is_told(override: Override) -> bool:
    return override.key_or_group.startswith(_TOLD)


def _section(override: Override) -> str:
    return override.key_or_group.partition(".")[0]
