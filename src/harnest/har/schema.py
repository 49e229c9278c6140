"""Facts about a run's windows for its MLflow record."""

from harnest.har.data.data_module import WindowModule
from harnest.tracking.outbox.operations import DatasetInfo


def tags(data: WindowModule) -> dict[str, str]:
    """Return the digest of the data and the subjects of each part, as MLflow tags."""
    split = data.split
    return {
        "data.digest": data.windows.digest,
        "subjects.train": ", ".join(map(str, split.train_subjects)),
        "subjects.validation": ", ".join(map(str, split.validation_subjects)),
        "subjects.test": ", ".join(map(str, split.test_subjects)),
    }


def dataset_info(data: WindowModule) -> DatasetInfo:
    """Describe the windows and their split, for MLflow's data set record."""
    windows, split = data.windows, data.split
    return DatasetInfo(
        name=windows.name,
        digest=windows.digest,
        shape=windows.signals.shape[1:],
        facts={
            "windows": len(windows.labels),
            "steps": windows.signals.shape[1],
            "rate_hz": windows.rate,
            "channels": [f"{channel.name} [{channel.unit}]" for channel in windows.channels],
            "activities": list(windows.activities),
            "subjects": {
                "train": [int(one) for one in split.train_subjects],
                "validation": [int(one) for one in split.validation_subjects],
                "test": [int(one) for one in split.test_subjects],
            },
            "windows_of": {
                "train": len(split.train),
                "validation": len(split.validation),
                "test": len(split.test),
            },
        },
    )
