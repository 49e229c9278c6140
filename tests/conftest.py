"""What all tests share."""

import os

import pytest

_OTHERS = ("HARNEST_TRUST", "HYDRA_FULL_ERROR", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID")


@pytest.fixture(scope="session", autouse=True)
def one_cache(tmp_path_factory):
    """One folder of prepared data for all tests that name no other, and for all workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "harnest-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNEST_CACHE", str(folder))
        patch.setenv("COLUMNS", "80")
        for name in _OTHERS:
            patch.delenv(name, raising=False)
        yield folder
