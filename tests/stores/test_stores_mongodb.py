"""MongoDB: the contract against `mongod` or SecantusDB, then what is its own: schema, hold, lost connections and crashes."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from msgspec.structs import replace
from pymongo import MongoClient

from jitflow.ports.errors import Broken, Retryable, Unreachable
from jitflow.ports.store import Commit, EffectRow, StateStore
from jitflow.stores import _process as processes
from jitflow.stores.mongodb import MongodbStore
from jitflow.testing.mongodb_server import RUNNING, MongodbServer, RunningServer, find_program, mongodb_server
from jitflow.testing.store_contract import BIG, StateStoreContract, a_commit, a_row

WHY = "needs mongod, or SecantusDB (pip install secantusdb)"
pytestmark = pytest.mark.skipif(not (find_program() or os.environ.get(RUNNING)), reason=WHY)


@pytest.fixture(scope="module")
def server() -> Iterator[MongodbServer | RunningServer]:
    if url := os.environ.get(RUNNING):
        yield RunningServer(url)
        return
    with mongodb_server() as started:
        yield started


class TestMongodbStore(StateStoreContract):
    histories = 6
    server: MongodbServer | RunningServer

    @pytest.fixture(autouse=True)
    def _server(self, server: MongodbServer) -> None:
        type(self).server = server

    def open_store(self, directory: Path) -> AbstractAsyncContextManager[StateStore]:
        return MongodbStore.open(self.server.new_database())


def run_store(url: str, scenario: object, **options: object) -> object:
    async def run() -> object:
        async with MongodbStore.open(url, **options) as store:  # type: ignore[arg-type]
            return await scenario(store)  # type: ignore[operator]

    return asyncio.run(run())


def test_a_database_that_is_not_ours_to_write_is_refused(server: MongodbServer) -> None:
    url = server.new_database()
    run_store(url, lambda store: store.commit(a_commit()))
    with MongoClient(url) as client:
        meta = client.get_default_database().meta
        meta.update_one({"_id": "schema"}, {"$set": {"version": 99, "oldest_compatible": 99}})
        for reads_only in (False, True):
            with pytest.raises(Broken, match="newer jitflow"):
                run_store(url, lambda store: store.runs(), reads_only=reads_only)
        meta.delete_many({})
        with pytest.raises(Broken, match="another program"):
            run_store(url, lambda store: store.runs())
    with pytest.raises(Broken, match="jitflow state migrate"):
        run_store(server.new_database(), lambda store: store.runs(), reads_only=True)


def test_a_second_server_is_told_who_holds_it_and_the_first_when_it_was_replaced(server: MongodbServer) -> None:
    url = server.new_database()

    async def scenario(store: MongodbStore) -> None:
        with pytest.raises(Broken, match="in use by another jitflow server"):
            async with MongodbStore.open(url):
                pass
        with MongoClient(url) as client:  # it is known to be dead
            dead = processes.encode(replace(processes.this_process(), started="1"))
            client.get_default_database().meta.update_one({"_id": "holder"}, {"$set": {"process": dead}})
        async with MongodbStore.open(url):
            await store._beat()
            with pytest.raises(Broken, match="taken over"):
                await store.commit(a_commit())

    run_store(url, scenario)


def test_what_a_crash_has_left_half_spread_is_finished(server: MongodbServer) -> None:
    url = server.new_database()
    whole = Commit(row=a_row(), header=BIG, nodes=(("n", b"1"),), effects=(EffectRow(key="k", body=b"2"),), events=(b"e",))
    run_store(url, lambda store: store.commit(whole))
    with MongoClient(url) as client:  # as if the server had died right after the run's document was written
        client.get_default_database().pieces.delete_many({})

    async def check(store: MongodbStore) -> None:
        stored = await store.load("u1")
        assert stored is not None
        assert (stored.header, stored.nodes, stored.effects) == (BIG, whole.nodes, whole.effects)
        assert list(await store.events("u1")) == [(1, b"e")]

    run_store(url, check, reads_only=True)
    run_store(url, check)
    with MongoClient(url) as client:
        assert client.get_default_database().pieces.count_documents({}) == 4


@pytest.mark.skipif(not find_program(), reason=WHY)
def test_after_an_outage_all_goes_on_with_nothing_lost_or_doubled() -> None:
    with mongodb_server() as own:

        async def scenario(store: MongodbStore) -> None:
            away: list[str] = []

            async def write(uid: str) -> None:
                version = 1
                while version <= 12:
                    try:
                        await store.commit(Commit(row=a_row(uid, version=version), events=(str(version).encode(),)))
                    except Retryable as error:  # nothing was changed: the same commit is made again, and never conflicts
                        away.append(str(error))
                        await asyncio.sleep(0.02)
                    else:
                        version += 1

            async def disturb() -> None:
                await asyncio.sleep(0.1)
                await asyncio.to_thread(own.stop, signal.SIGKILL)
                with pytest.raises(Unreachable, match="all goes on when it is back"):
                    await store.runs()
                await asyncio.to_thread(own.start)

            async with asyncio.TaskGroup() as group:
                for uid in ("u1", "u2", "u3"):
                    group.create_task(write(uid))
                group.create_task(disturb())
            for uid in ("u1", "u2", "u3"):
                assert [int(body) for _, body in await store.events(uid)] == list(range(1, 13))

        run_store(own.new_database(), scenario)
