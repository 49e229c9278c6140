"""Optuna's own suite for storages, with studies as they are kept here."""

import pytest
from optuna.testing.pytest_storages import StorageTestCase

from harnest.study.storage.optuna_storage import open_storage


class TestJournal(StorageTestCase):
    @pytest.fixture
    def storage(self, tmp_path):
        return open_storage(f"journal://{tmp_path}/study.journal")


@pytest.mark.slow  # each case makes the tables of a database
class TestDatabase(StorageTestCase):
    @pytest.fixture
    def storage(self, tmp_path):
        return open_storage(f"sqlite:///{tmp_path}/optuna.db")
