"""Entry: from a recorded run to the same run again, and whether it came out the same."""

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
        is_same = rerun(arguments.run, arguments.tracking_uri, arguments.experiment)
    sys.exit(0 if is_same else 1)


def rerun(name: str, address: str, experiment: str) -> bool:
    """Repeat a run and say what came of it; False where another score did."""
    from harnest.tracking.provenance import provenance
    from harnest.tracking.reproduce import differences, load_original

    first = load_original(name, address, experiment)
    if first.run is not None:
        for line in differences(first.run.data.tags, provenance()):
            print(f"differs: {line}")

    from harnest.training.retrain import retrain

    repeats = first.name if first.run is None else first.run.info.run_id
    done = retrain(
        first.cfg, name=f"{first.name} again", address=address, tags={"repeats": repeats}
    )
    if first.run is None or first.score is None:
        print(f"score {done.score:.6f}; {first.name} has no recorded score to compare with")
        return True
    if done.score == first.score:
        print(f"score {done.score:.6f}, the same as recorded")
        return True
    second = load_original(str(done.directory), address, first.cfg.logger.mlflow.experiment)
    assert second.run is not None
    differ = differences(first.run.data.tags, second.run.data.tags)
    print(
        f"score {done.score:.6f}, not the recorded {first.score:.6f}; "
        + (f"what differs: {'; '.join(differ)}" if differ else "nothing that is recorded differs")
    )
    return False


if __name__ == "__main__":
    main()
