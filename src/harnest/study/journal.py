"""Optuna's journal file, mended where a writer could not finish its entry."""

import os
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import get_lock_file


class Journal(JournalFileBackend):
    """A journal whose last entry may have been cut short, by a full disk or a power cut.

    Optuna skips such an entry only as long as it is the last: with another one after it, the whole
    file is unreadable.
    """

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append entries, in place of one that was cut short."""
        with get_lock_file(self._lock):  # it can be taken twice
            _cut_to_last_line(Path(self._file_path))
            super().append_logs(logs)


def _cut_to_last_line(file: Path) -> None:
    with file.open("rb+") as journal:
        end = journal.seek(0, os.SEEK_END)
        if end == 0:
            return
        journal.seek(end - 1)
        if journal.read(1) != b"\n":
            journal.seek(0)
            journal.truncate(journal.read().rfind(b"\n") + 1)
