"""What the commands share: Hydra applications, options, errors as one line and exit code 2."""

import argparse
import atexit
import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from harnest.core.error_messages import file_error, one_line
from harnest.core.errors import ConfigError, HarnestError
from harnest.core.output import ignore_broken_pipe
from harnest.core.paths import CONFIG_DIR, remove_if_unused
from harnest.core.secrets import move_to_environment, redact
from harnest.core.trust import trusted
from harnest.core.type_check import check_type

if TYPE_CHECKING:
    from harnest.study.study_task import StudyTask

_OF_CONFIGS = (HydraException, OmegaConfBaseException, YAMLError)

USAGE = 2  # the exit code of every problem that the user can mend

# A program that ends would look for garbage among all that it has imported, for up to a second.
atexit.register(gc.freeze)


def run_hydra(task: "StudyTask", config_name: str) -> None:
    """Run ``task`` as the Hydra application of ``sys.argv``, then exit.

    A `HarnestError`, and any error of Hydra about the command line, becomes one line on stderr and
    exit code 2; ``-v`` or ``HYDRA_FULL_ERROR=1`` adds the traceback. An interrupt (Ctrl-C, SIGTERM)
    exits with 130.
    """
    if "--version" in sys.argv[1:]:  # Hydra would print its own
        print(_version())
        sys.exit()
    sys.argv[1:] = move_to_environment(sys.argv[1:])

    failures: list[Exception] = []

    def checked(cfg: DictConfig) -> Any:
        # Hydra would print its own line for an error that the task of a single run raises. In a
        # study the sweeper handles it.
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

    checked.__module__ = task.run.__module__  # Hydra names the job after it
    study_task = task.with_run(checked)
    with errors_as_lines():
        application = hydra.main(
            config_path=str(CONFIG_DIR),
            config_name=config_name,
            execution_whitelist=trusted(),
        )
        try:
            application(study_task)()
        except OSError as error:  # of a directory: what a task raises does not come this way
            if error.filename is None:
                raise
            raise ConfigError(
                f"{file_error(error)}; choose another place with hydra.run.dir= or hydra.sweep.dir="
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
        "--version",
        action=_ShowVersion,
        nargs=0,
        default=argparse.SUPPRESS,
        help="show harnest's version and exit",
    )


class _ShowVersion(argparse.Action):
    """Looks up the version only if it is requested."""

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
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra would print its own report as well
    on_terminate = signal.signal(signal.SIGTERM, _terminate)
    try:
        with ignore_broken_pipe():
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
    """Whether an interrupt caused the error: OmegaConf fails to clean up after one."""
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
    """Raise `ConfigError` for an override whose type differs from that of its default."""
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
