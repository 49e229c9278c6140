import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harnest.core.secrets import move_to_environment, redact

words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)
# What may stand in a password without being encoded, as RFC 3986 has it.
passwords = st.text("abcXYZ019-._~!$&'()*+,;=:%", min_size=1, max_size=20)
schemes = st.sampled_from(["http", "https", "postgresql", "mysql+pymysql", "redis", "journal"])
texts = st.text(st.characters(codec="utf-8", exclude_characters="@"), max_size=30)


@pytest.fixture
def environment(monkeypatch):
    """What is put into the environment is taken out again."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return os.environ


@given(texts, schemes, words, passwords, words, texts)
def test_the_password_goes_and_all_else_stays(before, scheme, user, password, host, after):
    address = f"{scheme}://{user}:{password}@{host}:5432/db"
    assert redact(f"{before} {address} {after}") == (
        f"{before} {scheme}://{user}:***@{host}:5432/db {after}"
    )


@given(texts)
def test_text_without_an_address_is_left_alone(text):
    assert redact(text) == text


@given(st.lists(st.tuples(schemes, words, passwords, words), min_size=1, max_size=4))
def test_every_address_in_a_text_is_redacted_once_and_for_all(addresses):
    text = "\n".join(f"{s}://{u}:{p}@{h}" for s, u, p, h in addresses)
    assert redact(text) == "\n".join(f"{s}://{u}:***@{h}" for s, u, p, h in addresses)
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "harmless",
    [
        "http://127.0.0.1:5000",
        "http://host:5000/path",
        "sqlite:////home/me/mlflow.db",
        "postgresql://me@host/db",
        "me@example.org",
        "model@encoder=lstm",
        "a: b@c",
    ],
)
def test_what_only_looks_like_it_is_left_alone(harmless):
    assert redact(harmless) == harmless


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://me:s3@cr3t@host:5000/a@b", "http://me:***@host:5000/a@b"),
        ("'http://me:s3cr3t@host','a@b'", "'http://me:***@host','a@b'"),
        ("postgresql://host/db?user=me&sslpassword=s3cr3t", "sslpassword=***"),
    ],
)
def test_nothing_of_a_password_stays(address, told):
    assert redact(address).endswith(told)
    assert "cr3t" not in redact(address)


def test_an_address_without_a_user_can_have_a_password():
    assert redact("redis://:s3cr3t@host:6379/0") == "redis://:***@host:6379/0"


@pytest.mark.parametrize(
    "argument",
    [
        "logger.mlflow.tracking_uri=http://me:s3cr3t@host:5000",
        "logger.mlflow.tracking_uri='http://me:s3cr3t@host:5000'",
        '+logger.mlflow.tracking_uri="http://me:s3cr3t@host:5000"',
        "hydra.sweeper.storage=postgresql://me:s3cr3t@host/db?sslmode=require",
    ],
)
def test_an_override_with_a_password_becomes_a_reference(environment, argument):
    (moved,) = move_to_environment([argument])
    key, _, value = moved.partition("=")
    assert key == argument.partition("=")[0]
    assert value.startswith("${oc.env:HARNEST_SECRET_")
    name = value.removeprefix("${oc.env:").removesuffix("}")
    assert environment[name] == argument.partition("=")[2].strip("'\"")


def test_the_reference_is_what_hydra_resolves_to_the_address(environment, monkeypatch):
    from omegaconf import OmegaConf

    moved = move_to_environment(["storage=mysql://me:s3cr3t@host/db"])
    monkeypatch.setenv(*next(i for i in environment.items() if "SECRET_STORAGE" in i[0]))
    assert OmegaConf.from_dotlist(moved).storage == "mysql://me:s3cr3t@host/db"


def test_other_arguments_are_left_alone(environment):
    before = dict(environment)
    arguments = ["-m", "--help", "sweep=quick", "a=http://host:5000", "~b", "x='a=b'"]
    assert move_to_environment(arguments) == arguments
    assert environment == before


def test_two_keys_have_a_variable_each(environment):
    one, two = move_to_environment(["a.url=http://u:p1@h", "b.url=http://u:p2@h"])
    assert one.partition("=")[2] != two.partition("=")[2]
    assert {"http://u:p1@h", "http://u:p2@h"} <= set(environment.values())
