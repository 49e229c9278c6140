import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's cache folder."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HARNEST_CACHE", str(folder))
    return folder
