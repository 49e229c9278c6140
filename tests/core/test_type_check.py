"""Values keep the kind of the default that they replace."""

import pytest
from omegaconf import OmegaConf

from harnest.core.errors import ConfigError
from harnest.core.type_check import check_type

DEFAULTS = OmegaConf.create(
    {
        "flag": True,
        "count": 3,
        "rate": 0.1,
        "word": "mean",
        "none": None,
        "list": [1, 2],
        "group": {"count": 1},
        "linked": "${count}",
    }
)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("flag", False),
        ("count", 0),
        ("count", None),
        ("rate", 3e-3),
        ("rate", 2),
        ("rate", None),
        ("word", 3),
        ("none", "anything"),
        ("none", 3),
        ("list", [3.5]),
        ("list", "all"),
        ("group.count", 4),
        ("linked", 4),
        ("not.there", 1),
    ],
)
def test_the_same_kind_is_taken(key, value):
    check_type(key, value, DEFAULTS)


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("flag", 1, "true or false, as its default True is"),
        ("flag", "yes", "true or false"),
        ("count", 1.5, "a whole number, as its default 3 is"),
        ("count", True, "a whole number"),
        ("count", "many", "a whole number"),
        ("count", [1], "a whole number"),
        ("rate", "fast", "a number, as its default 0.1 is"),
        ("rate", True, "a number"),
        ("group.count", "x", "a whole number"),
        ("linked", "x", "a whole number"),
    ],
)
def test_another_kind_is_refused(key, value, wanted):
    with pytest.raises(ConfigError) as refused:
        check_type(key, value, DEFAULTS)
    assert str(refused.value).startswith(f"{key}={value} cannot be used: it must be {wanted}")
