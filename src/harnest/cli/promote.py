"""``harnest-promote``: refit, test and register the winner of a study."""

import argparse
import os
import sys
from functools import partial

from harnest.cli.app import (
    add_experiment_option,
    add_store_option,
    add_version_option,
    errors_as_lines,
)
from harnest.core.errors import TrackingError


def main() -> None:
    """``harnest-promote``."""
    parser = argparse.ArgumentParser(
        prog="harnest-promote",
        description="Refit a study's winner on several new seeds, and test each refit on the "
        "test subjects, which the study has not used. As in the study, the validation subjects "
        "pick the epoch and are not trained on. Mean and deviation go to the study's run; the "
        "refit with the best validation score is registered, and becomes the champion if the mean "
        "of its test scores beats the present champion's on the same data. Where that mean is no "
        "better than guessing, nothing is registered and the exit code is 1.",
        epilog="examples: harnest-promote quick | harnest-promote multirun/quick --seeds 5. "
        "A seed that was refitted before is not trained again.",
    )
    parser.add_argument("study", help="a study's name, directory or MLflow run id")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="refits (default: 3)")
    parser.add_argument(
        "--trial", type=int, metavar="N", help="refit this trial (default: the best one)"
    )
    parser.add_argument(
        "--name", help="the registered model (default: harnest- and the data set's name)"
    )
    parser.add_argument(
        "--force", action="store_true", help="register also what is no better than guessing"
    )
    add_experiment_option(parser)
    add_store_option(parser)
    parser.add_argument("-v", action="store_true", help="show the traceback of an error")
    add_version_option(parser)
    arguments = parser.parse_args()
    if arguments.seeds < 1:
        parser.error(f"argument --seeds: {arguments.seeds} is too few; give at least 1")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with errors_as_lines():
        from harnest.tracking.find_runs import experiment_id_of, find_study
        from harnest.tracking.store import open_existing
        from harnest.training.promotion import promote, refit, winner_of

        client = open_existing(arguments.tracking_uri)
        group = experiment_id_of(client, arguments.experiment)
        study = find_study(client, group, arguments.study)
        winner = winner_of(client, study, arguments.trial)
        name = arguments.name or f"harnest-{winner.data.params['data.name']}"
        if {"/", ":"} & set(name):  # checked before anything is trained
            raise TrackingError(
                f"a registered model cannot be called {name}: give a --name without / and :"
            )
        say = partial(print, flush=True)
        warn = partial(print, file=sys.stderr)
        refits = refit(client, study, winner, arguments.seeds, say)
        is_registered = promote(
            client, study, winner, refits, name, say=say, warn=warn, force=arguments.force
        )
    sys.exit(0 if is_registered else 1)


if __name__ == "__main__":
    main()
