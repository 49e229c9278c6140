"""Optuna's journal file with repair of truncated entries and fewer fsync calls."""

import json
import os
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import get_lock_file
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import TrialState

#: Operations that must survive a power cut; fsync also writes all earlier entries to disk.
_LASTING = {
    JournalOperation.CREATE_STUDY,
    JournalOperation.CREATE_TRIAL,  # else its number would be reused, but its directory exists
    JournalOperation.SET_TRIAL_STATE_VALUES,
}


def _is_lasting(log: dict[str, Any]) -> bool:
    # An enqueued trial has no directory yet, and a grid enqueues a thousand trials at once.
    return log["op_code"] in _LASTING and log.get("state") != TrialState.WAITING


class RepairingJournalFile(JournalFileBackend):
    """A journal file that removes a truncated last entry before it appends.

    A full disk or a power cut can truncate an entry. Optuna skips it only as long as it is the last
    one; followed by another entry, it makes the whole file unreadable.

    Optuna calls fsync (about 10 ms) for each entry, including each report and each parameter of a
    new trial. This class calls it only for the creation of studies and trials, and for trial
    states. The death of a process loses no entry.
    """

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append entries, after removing a truncated last one."""
        with get_lock_file(self._lock):  # reentrant
            _cut_to_last_line(Path(self._file_path))
            lines = (f"{json.dumps(log, separators=(',', ':'))}\n" for log in logs)
            with Path(self._file_path).open("ab") as journal:
                journal.write("".join(lines).encode())
                journal.flush()
                if any(map(_is_lasting, logs)):
                    os.fsync(journal.fileno())


def _cut_to_last_line(file: Path) -> None:
    with file.open("rb+") as journal:
        end = journal.seek(0, os.SEEK_END)
        if end == 0:
            return
        journal.seek(end - 1)
        if journal.read(1) != b"\n":
            journal.seek(0)
            journal.truncate(journal.read().rfind(b"\n") + 1)
