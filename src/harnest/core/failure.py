"""Why something failed: a reason, a one-line message and the traceback."""

import re
import traceback
from dataclasses import dataclass

from harnest.core.errors import StudyError
from harnest.core.secrets import redact

INTERRUPTED = "interrupted"
DIVERGED = "nan"

#: Message of a `TrialMemoryError`.
OUT_OF_MEMORY = "the kernel killed the trial's process: out of memory"


@dataclass(frozen=True)
class Failure:
    """``reason`` is error, oom, nan, timeout, killed or interrupted; ``message`` is one line."""

    reason: str
    message: str
    details: str | None = None


def failure_of(error: BaseException) -> Failure:
    """Read the failure from an exception; passwords are taken out."""
    text = redact(str(error).strip())
    name = type(error).__name__
    return Failure(
        reason=_reason(error),
        message=f"{name}: {text.splitlines()[0]}" if text else name,
        details=redact("".join(traceback.format_exception(error))),
    )


class TrialTimeoutError(StudyError):
    """A trial that took longer than it may."""


class TrialKilledError(StudyError):
    """A trial whose process did not live to its end."""


class TrialMemoryError(StudyError):
    """A trial whose process the kernel killed, because memory had run out."""


class TrialInterruptedError(StudyError):
    """A trial that was interrupted from outside, not by an error of its own."""


def _reason(error: BaseException) -> str:
    if isinstance(error, TrialTimeoutError):
        return "timeout"
    if isinstance(error, TrialKilledError):
        return "killed"
    if isinstance(error, KeyboardInterrupt | TrialInterruptedError):
        return INTERRUPTED
    if isinstance(error, FloatingPointError):
        return DIVERGED
    if isinstance(error, MemoryError | TrialMemoryError) or _is_out_of_memory(error):
        return "oom"
    return "error"


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether torch or Ray had no memory left, a GPU's or the machine's.

    Both have an error of this name, which are not imported for it; torch has other words as well:
    the driver's where not even a context can be made, and those of cuDNN and cuBLAS for what they
    take themselves.
    """
    if type(error).__name__ == "OutOfMemoryError":
        return True
    words = r"out of memory|not enough memory|can't allocate memory|STATUS_ALLOC_FAILED"
    return isinstance(error, RuntimeError) and re.search(words, str(error)) is not None
