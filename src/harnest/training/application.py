"""Runs a Hydra application in this process, without a command line."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.errors import HydraException
from hydra.types import TaskFunction
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from harnest.core.error_messages import one_line
from harnest.core.errors import ConfigError
from harnest.core.trust import trusted


def run_application(
    task: TaskFunction, arguments: Sequence[str], config_dir: Path | str, config_name: str
) -> None:
    """Run ``task`` as a Hydra application whose command line is ``arguments``.

    Raises:
        ConfigError: Hydra cannot use the arguments or the config.
    """
    argv, full_error = sys.argv[1:], os.environ.get("HYDRA_FULL_ERROR")
    sys.argv[1:] = arguments
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors instead of printing them
    try:
        hydra.main(str(config_dir), config_name, execution_whitelist=trusted())(task)()
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(one_line(error) or str(error)) from error
    finally:
        sys.argv[1:] = argv
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full_error
