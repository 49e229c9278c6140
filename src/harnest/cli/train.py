"""``harnest-train``: train once, or run a study."""

from harnest.cli.app import run_hydra
from harnest.training.train import TRAIN


def main() -> None:
    """``harnest-train``."""
    run_hydra(TRAIN, config_name="train")


if __name__ == "__main__":
    main()
