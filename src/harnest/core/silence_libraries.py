"""Turns off warnings and banners of libraries."""

import logging
import warnings

_TALKATIVE = ("pytorch_lightning", "lightning_fabric", "mlflow", "alembic")


def silence_libraries() -> None:
    """Keep libraries' notices off the terminal; warnings that matter stay.

    To be called once they are imported: Lightning and MLflow set their loggers up then.
    """
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*LeafSpec.*",  # between Lightning and torch
        ".*is smaller than the logging interval.*",  # metrics are logged by epoch here
        ".*does not have many workers.*",  # batches are gathered in place
        ".*could not find the monitored key.*",  # of an epoch that was cut short; else an error
        ".*not part of single contiguous chunk.*",  # a pack's weights of LSTMs are rows of a matrix
        ".*AMP with fp16 is not supported on CPU.*",  # said in a line of our own
        ".*sync_dist=True.*",  # torchmetrics gathers from all devices itself
    ):
        warnings.filterwarnings("ignore", message)
