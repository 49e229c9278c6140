"""``harnest-ui``: start MLflow's UI and optuna-dashboard."""

import argparse

from harnest.cli.app import add_store_option, add_version_option, errors_as_lines


def main() -> None:
    """``harnest-ui``."""
    parser = argparse.ArgumentParser(
        prog="harnest-ui",
        description="Show the MLflow store of this folder in a browser, and a study in "
        "optuna-dashboard where that is installed. Both are for this machine alone. Ctrl-C ends "
        "them.",
        epilog="examples: harnest-ui | harnest-ui multirun/quick --port 8080",
    )
    parser.add_argument(
        "study",
        nargs="?",
        help="the study's folder for optuna-dashboard (default: the newest in multirun/)",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=5000,
        help="for MLflow (default: 5000); another where it is taken",
    )
    add_store_option(parser)
    parser.add_argument(
        "-v", action="store_true", help="show the traceback of an error, and what the servers say"
    )
    add_version_option(parser)
    arguments = parser.parse_args()
    if not 0 <= arguments.port < 65536:
        parser.error(f"argument --port: {arguments.port} is not a port; give a number up to 65535")
    with errors_as_lines():
        from harnest.tracking.servers import serve

        serve(arguments.tracking_uri, arguments.study, arguments.port, arguments.v)


if __name__ == "__main__":
    main()
