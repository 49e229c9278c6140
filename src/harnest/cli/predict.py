"""``harnest-predict``: predict the activities in a recording."""

import argparse
from pathlib import Path

from harnest.cli.app import add_store_option, add_version_option, errors_as_lines


def main() -> None:
    """``harnest-predict``."""
    parser = argparse.ArgumentParser(
        prog="harnest-predict",
        description="Tell the activities in a recording, window by window, with the model of a "
        "run or a registered one. The recording is a CSV file with a header: the channels that "
        "the model was trained on, and their time in seconds.",
        epilog="examples: harnest-predict multirun/quick/7 walk.csv | "
        "harnest-predict harnest-watch walk.csv --rate 50 -o activities.csv --plot walk.png",
    )
    parser.add_argument(
        "model",
        help="a run's directory or MLflow id, or a registered model: NAME, NAME@ALIAS or "
        "NAME/VERSION",
    )
    parser.add_argument("file", type=Path, help="the recording")
    parser.add_argument(
        "--rate",
        type=float,
        metavar="HZ",
        help="samples per second, for a recording without a column of times",
    )
    parser.add_argument(
        "--step",
        type=float,
        metavar="S",
        help="seconds from one window's start to the next (default: half a window)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="where the table goes (default: stdout)"
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="draw the signal and what it was taken for"
    )
    add_store_option(parser)
    parser.add_argument("-v", action="store_true", help="show the traceback of an error")
    add_version_option(parser)
    arguments = parser.parse_args()
    with errors_as_lines():
        from harnest.har.predict_recording import PredictionRequest, predict_recording

        del arguments.v
        predict_recording(PredictionRequest(**vars(arguments)))


if __name__ == "__main__":
    main()
