"""The command line: Hydra applications whose errors are one line and exit code 2."""

import argparse
import atexit
import gc
import os
import re
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from hydra.errors import CompactHydraException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from harnest.cli.output import optional_reader
from harnest.core.errors import ConfigError, HarnestError
from harnest.core.paths import CONFIG_DIR
from harnest.core.secrets import move_to_environment, redact
from harnest.core.suggestions import all_keys, did_you_mean, group_choices
from harnest.core.trust import trusted
from harnest.core.type_check import check_type

_OF_CONFIGS = (HydraException, OmegaConfBaseException, YAMLError)

USAGE = 2  # the exit code of every problem that the user can mend

# A program that ends would look for garbage among all that it has imported, for up to a second.
atexit.register(gc.freeze)


def run_hydra(
    task: Callable[[DictConfig], Any],
    config_name: str,
    check: Callable[[DictConfig], None],
    check_unsearched: Callable[[DictConfig], None],
) -> None:
    """Run ``task`` as the Hydra application that ``sys.argv`` asks for, then exit.

    ``check`` raises `HarnestError` for a config that cannot be used; a study asks it for all
    that it searches before its first trial. ``check_unsearched`` does so for the one config of a
    study that searches nothing.

    A `HarnestError`, and whatever Hydra finds wrong with the command line, becomes one line on
    stderr and exit code 2; ``-v`` or ``HYDRA_FULL_ERROR=1`` shows the traceback as well. An
    interrupt (Ctrl-C, SIGTERM) exits with 130.
    """
    if "--version" in sys.argv[1:]:  # Hydra would say its own
        print(_version())
        sys.exit()
    sys.argv[1:] = move_to_environment(sys.argv[1:])

    failures: list[Exception] = []

    def checked(cfg: DictConfig) -> Any:
        # One run: Hydra would print a line of its own for an error that the task raises.
        # In a study the sweeper wants to see it.
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            return task(cfg)
        try:
            _check_mode()
            _check_overrides()
            return task(cfg)
        except (HarnestError, OmegaConfBaseException, OSError) as error:
            remove_if_unused(Path(HydraConfig.get().runtime.output_dir))
            failures.append(error)
            return None

    checked.__module__ = task.__module__  # Hydra names the job after it
    setattr(checked, "check", check)  # noqa: B010  the sweeper looks for it there
    setattr(checked, "check_unsearched", check_unsearched)  # noqa: B010  and there for this
    setattr(checked, "meets", True)  # noqa: B010  and `hydra/launcher=packed` for this
    with errors_as_lines():
        application = hydra.main(
            config_path=str(CONFIG_DIR),
            config_name=config_name,
            execution_whitelist=trusted(),
        )
        try:
            application(checked)()
        except OSError as error:  # of a directory: what a task raises does not come this way
            if error.filename is None:
                raise
            raise ConfigError(
                f"{_where(error)}; choose another place with hydra.run.dir= or hydra.sweep.dir="
            ) from error
        if failures:
            raise failures[0]


def add_store_option(parser: argparse.ArgumentParser) -> None:
    """Let the user say which MLflow store to read; the default is the trainer's."""
    parser.add_argument(
        "--tracking-uri",
        default=os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"),
        metavar="URI",
        help="the MLflow store (default: MLFLOW_TRACKING_URI, or mlflow.db in this folder)",
    )


def add_version_option(parser: argparse.ArgumentParser) -> None:
    """Let the user ask which release this is."""
    parser.add_argument(
        "--version", action=_ShowVersion, nargs=0, help="show harnest's version and exit"
    )


class _ShowVersion(argparse.Action):
    """Looks the version up only where it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *rest: Any) -> None:
        print(_version())
        parser.exit()


def _version() -> str:
    from importlib.metadata import version

    return f"harnest {version('harnest')}"


def add_experiment_option(parser: argparse.ArgumentParser) -> None:
    """Let the user say in which of the store's groups of runs to look."""
    parser.add_argument(
        "--experiment", default="harnest", help="MLflow's name of the group of runs"
    )


@contextmanager
def errors_as_lines() -> Iterator[None]:
    """Turn what the user can mend into one line and exit code 2, and interrupts into 130."""
    before = os.environ.get("HYDRA_FULL_ERROR", "")
    full = before == "1" or "-v" in sys.argv[1:]
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument != "-v"]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra's own reports would come on top of ours
    on_terminate = signal.signal(signal.SIGTERM, _terminate)
    try:
        with optional_reader():
            yield
    except KeyboardInterrupt:
        _interrupted()
    except (HarnestError, *_OF_CONFIGS, OSError, ValueError) as error:
        if _is_of_an_interrupt(error):
            _interrupted()
        message = one_line(error)
        if full or message is None:
            raise
        print(redact(message), file=sys.stderr)
        sys.exit(USAGE)
    finally:
        os.environ["HYDRA_FULL_ERROR"] = before
        signal.signal(signal.SIGTERM, on_terminate)


def _interrupted() -> NoReturn:
    print("interrupted", file=sys.stderr)
    sys.exit(130)


def _is_of_an_interrupt(error: BaseException | None) -> bool:
    """Whether an interrupt came first: OmegaConf, left half-way, fails when it tidies up."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _check_mode() -> None:
    sweep = HydraConfig.get().runtime.choices.get("sweep")
    if sweep is not None:
        raise ConfigError(f"sweep={sweep} is a study of many trials: add -m (--multirun)")


def _check_overrides() -> None:
    """Raise `ConfigError` for an override whose value is not of its default's kind."""
    running = HydraConfig.get()
    overrides = OverridesParser.create().parse_overrides(list(running.overrides.task))
    groups = [o for o in overrides if o.key_or_group in running.runtime.choices]
    values = [o for o in overrides if o not in groups and o.type is OverrideType.CHANGE]
    if not values:
        return
    reference = hydra.compose(
        running.job.config_name, [o.input_line for o in groups if o.input_line is not None]
    )
    for override in values:
        check_type(override.get_key_element(), override.value(), reference)


def remove_if_unused(directory: Path) -> None:
    """Remove a run's directory that holds nothing but what Hydra wrote before the run began."""
    running = HydraConfig.get()
    home = Path(running.runtime.cwd)
    own = (".hydra", f"{running.job.name}.log")
    if home.is_relative_to(directory) or any(path.name not in own for path in directory.iterdir()):
        return
    shutil.rmtree(directory)
    for parent in directory.parents:
        if home not in parent.parents:
            return
        try:
            parent.rmdir()
        except OSError:  # it holds something: another run's, which may have begun just now
            return


def one_line(error: Exception) -> str | None:
    """What to tell the user, or None where the error is not theirs."""
    if isinstance(error, HarnestError):
        return str(error)
    if isinstance(error, MissingConfigException):
        return _unknown_choice(error)
    if isinstance(error, CompactHydraException):
        unknown = re.search(r"Could not (?:override|delete|append to config) '([^']+)'", str(error))
        if unknown:
            return _unknown_key(unknown[1])
        if error.__cause__ is not None and isinstance(error.__cause__, OmegaConfBaseException):
            return _flat(f"{error}: {error.__cause__}")
        return _flat(str(error))
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        first = str(error.msg).splitlines()[0]
        return f"{error.full_key}: {first}; --cfg job shows the whole config"
    if isinstance(error, OmegaConfBaseException | YAMLError) or _raised_by_hydra(error):
        is_null = str(error).endswith("Got NoneType")
        hint = "; to choose nothing of a group, leave it out or give none" if is_null else ""
        return f"{_flat(str(error))}{hint}"
    if isinstance(error, OSError) and error.filename is not None:
        return _where(error)
    return None


def _where(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}"


def _raised_by_hydra(error: Exception) -> bool:
    """Whether Hydra does not take a flag, a choice or a file: those errors have no class."""
    frame = list(traceback.walk_tb(error.__traceback__))[-1][0]
    return str(frame.f_globals.get("__name__")).startswith("hydra._internal.")


def _flat(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


def _unknown_choice(error: MissingConfigException) -> str:
    missing = error.missing_cfg_file or str(error)
    group, _, choice = missing.rpartition("/")
    if not group:
        return _flat(str(error).split("Config search path")[0])
    options = [str(option) for option in error.options or group_choices(group)]
    near = did_you_mean(choice, options)
    return (
        f"{group}={choice}: there is no such choice{near}; there is {', '.join(options) or 'none'}"
    )


def _unknown_key(key: str) -> str:
    near = did_you_mean(key, all_keys())
    return f"{key}: there is no such key{near}; --cfg job shows all, +{key}=... adds one"
