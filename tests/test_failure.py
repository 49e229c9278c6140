import pytest

from harnest.errors import DivergedError
from harnest.failure import INTERRUPTED, TrialKilledError, TrialTimeoutError, failure_of


class OutOfMemoryError(RuntimeError):
    """Named as torch's own."""


def failure_from(error):
    with pytest.raises(type(error)) as raised:
        raise error
    return failure_of(raised.value)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no"), "error"),
        (SystemExit(3), "error"),
        (KeyboardInterrupt(), INTERRUPTED),
        (FloatingPointError("no"), "nan"),
        (DivergedError("no"), "nan"),
        (MemoryError(), "oom"),
        (OutOfMemoryError("no"), "oom"),
        (TrialTimeoutError("no"), "timeout"),
        (TrialKilledError("no"), "killed"),
    ],
)
def test_the_reason_is_one_word(error, reason):
    assert failure_from(error).reason == reason


def test_the_message_is_the_first_line_and_the_details_are_the_traceback():
    failure = failure_from(ValueError("  one\ntwo\n"))
    assert failure.message == "ValueError: one"
    assert failure.details.startswith("Traceback")
    assert "raise error" in failure.details
    assert "two" in failure.details


def test_an_error_without_words_is_named():
    assert failure_from(MemoryError()).message == "MemoryError"


def test_a_cause_is_part_of_the_details():
    error = ValueError("outer")
    error.__cause__ = KeyError("inner")
    assert "inner" in failure_from(error).details


def test_passwords_are_in_neither():
    failure = failure_from(OSError("cannot reach http://me:s3cr3t@host\nhttp://me:s3cr3t@host"))
    assert "s3cr3t" not in failure.message + failure.details
    assert "http://me:***@host" in failure.message
