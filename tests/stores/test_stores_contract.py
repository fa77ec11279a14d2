"""Each store against the shipped contract."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from jitflow.ports.store import StateStore
from jitflow.stores.sqlite import SqliteStore
from jitflow.testing.memory_store import MemoryStore
from jitflow.testing.store_contract import StateStoreContract


class TestSqliteStore(StateStoreContract):
    def open_store(self, directory: Path) -> AbstractAsyncContextManager[StateStore]:
        return SqliteStore.open(directory / "state.db")


class TestSqliteStoreFull(StateStoreContract):
    def open_store(self, directory: Path) -> AbstractAsyncContextManager[StateStore]:
        return SqliteStore.open(directory / "state.db", synchronous="FULL")


@pytest.mark.pure
class TestMemoryStore(StateStoreContract):
    def open_store(self, directory: Path) -> AbstractAsyncContextManager[StateStore]:
        return MemoryStore.open()
