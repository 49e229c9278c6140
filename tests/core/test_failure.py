import pytest

from harnest.core.errors import DivergedError
from harnest.core.failure import INTERRUPTED, TrialKilledError, TrialTimeoutError, failure_of


class OutOfMemoryError(Exception):
    """Named as torch's and Ray's own."""


#: Beginnings of what torch says where memory has run out, a GPU's but for the last two.
TORCH_SAYS = (
    "CUDA out of memory. Tried to allocate 2.00 GiB.",
    "CUDA error: out of memory",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.",
    "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.",
)


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
        *((RuntimeError(told), "oom") for told in TORCH_SAYS),
        (RuntimeError("the size of tensor a (3) must match"), "error"),
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
