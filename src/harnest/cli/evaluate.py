"""``harnest-evaluate``: score a recorded run on the test subjects."""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from harnest.cli.app import add_store_option, add_version_option, errors_as_lines

if TYPE_CHECKING:
    from harnest.tracking.load_run import RecordedRun


def main() -> None:
    """``harnest-evaluate``."""
    parser = argparse.ArgumentParser(
        prog="harnest-evaluate",
        description="Test a recorded run on the test subjects, and write scores and figures to "
        "its MLflow run. A run that was tested before shows what was recorded then; the scores of "
        "one that is still running are shown, but not recorded.",
        epilog="examples: harnest-evaluate multirun/quick/7 | harnest-evaluate MLFLOW_RUN_ID",
    )
    parser.add_argument("run", help="a run's or trial's directory, or its MLflow run id")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="another checkpoint than the run's best one; its scores are shown, not recorded",
    )
    add_store_option(parser)
    parser.add_argument("-v", action="store_true", help="show the traceback of an error")
    add_version_option(parser)
    arguments = parser.parse_args()
    with errors_as_lines():
        from harnest.tracking.load_run import load_run
        from harnest.training.task import task_of

        recalled = load_run(arguments.run, arguments.tracking_uri, arguments.checkpoint)
        if arguments.checkpoint is not None:
            _show(task_of(recalled.cfg).evaluate(recalled.cfg, recalled.checkpoint))
        elif scores := recalled.metrics("test"):
            print("tested before; these are the recorded scores")
            _show(scores)
        else:
            _test(recalled)


def _test(recalled: "RecordedRun") -> None:
    from harnest.training.task import task_of

    # Asked first: of a run that ends meanwhile these may be the scores of an earlier epoch.
    is_at_work = recalled.is_running()
    with TemporaryDirectory() as folder:
        scores = task_of(recalled.cfg).evaluate(recalled.cfg, recalled.checkpoint, Path(folder))
        _show(scores)
        if is_at_work:
            print(
                "this run is still RUNNING in its record: its scores are not recorded; if its "
                "process was killed, harnest-sync or its study ends the run"
            )
        else:
            recalled.record(scores, sorted(Path(folder).iterdir()), "figures/test")


def _show(scores: dict[str, float]) -> None:
    for name, value in sorted(scores.items()):
        print(f"{name:<14} {value:.4f}")


if __name__ == "__main__":
    main()
