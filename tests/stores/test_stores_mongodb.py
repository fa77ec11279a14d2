"""MongoDB: the contract against `mongod` or SecantusDB, then what is its own: schema, hold, lost connections and crashes."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from jitflow.ports.store import StateStore
from jitflow.stores.mongodb import MongodbStore
from jitflow.testing.mongodb_server import MongodbServer, find_program, mongodb_server
from jitflow.testing.store_contract import StateStoreContract

pytestmark = pytest.mark.skipif(not find_program(), reason="needs mongod, or SecantusDB (pip install secantusdb)")


@pytest.fixture(scope="module")
def server() -> Iterator[MongodbServer]:
    with mongodb_server() as started:
        yield started


class TestMongodbStore(StateStoreContract):
    histories = 6
    server: MongodbServer

    @pytest.fixture(autouse=True)
    def _server(self, server: MongodbServer) -> None:
        type(self).server = server

    def open_store(self, directory: Path) -> AbstractAsyncContextManager[StateStore]:
        return MongodbStore.open(self.server.new_database())
