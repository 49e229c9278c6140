"""HAR as a task: what it needs is said before anything is trained."""

import importlib.util

import pytest

from harnest.core.errors import ConfigError
from harnest.har.task import WindowClassification


def test_a_package_that_is_missing_is_named_with_the_extra_that_brings_it(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "harnest.har.task.find_spec", lambda name: None if name == "pooch" else found(name)
    )
    with pytest.raises(ConfigError, match=r"needs pooch: pip install 'harnest\[har\]'"):
        WindowClassification()
