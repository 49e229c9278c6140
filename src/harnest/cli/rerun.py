"""``harnest-rerun``: train a recorded run again and compare the scores."""

import argparse
import os
import sys

from harnest.cli.app import (
    add_experiment_option,
    add_store_option,
    add_version_option,
    errors_as_lines,
)


def main() -> None:
    """``harnest-rerun``."""
    parser = argparse.ArgumentParser(
        prog="harnest-rerun",
        description="Train a recorded run's config again, from its first epoch on, as a new run "
        "whose tag `repeats` names the old one. Says what differs from then (commit, packages, "
        "data, machine) and whether the score is the same. Exit code 1 where it is not.",
        epilog="examples: harnest-rerun multirun/quick/7 | harnest-rerun MLFLOW_RUN_ID",
    )
    parser.add_argument("run", help="a run's or trial's directory, its name, or its MLflow run id")
    add_experiment_option(parser)
    add_store_option(parser)
    parser.add_argument("-v", action="store_true", help="show the traceback of an error")
    add_version_option(parser)
    arguments = parser.parse_args()
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with errors_as_lines():
        from harnest.training.rerun import rerun

        is_same = rerun(arguments.run, arguments.tracking_uri, arguments.experiment, print)
    sys.exit(0 if is_same else 1)


if __name__ == "__main__":
    main()
