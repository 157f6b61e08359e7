"""The shipped suite of stores, on those that need no server; `tests/services` runs it on the servers."""

import pytest

import awaitly_nb as aw
from awaitly_nb.stores.libsql import libsql_store
from awaitly_nb.stores.sqlite import sqlite_store
from awaitly_nb.testing.states import StateStoreSuite
from awaitly_nb.testing.stores import StoreSuite


class TestSqlite(StoreSuite):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: sqlite_store(tmp_path / "new folder" / "records.db")


class TestLibsqlFile(StoreSuite):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: libsql_store(tmp_path / "new folder" / "records.db")


class TestFolder(StoreSuite):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: aw.objects(tmp_path / "new folder" / "shelf").records


class TestStatesInSqlite(StateStoreSuite):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda **options: aw.sqlite(tmp_path / "runs.db", **options)


class TestStatesInLibsqlFile(StateStoreSuite):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda **options: aw.libsql(tmp_path / "runs.db", **options)


class TestStatesInFolder(StateStoreSuite):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda **options: aw.objects((tmp_path / "shelf").as_uri(), **options)
