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
from pymongo.errors import OperationFailure

from jitflow.ports.errors import Broken, Retryable, Unreachable, VersionConflict
from jitflow.ports.store import Commit, EffectRow, StateStore
from jitflow.stores import _process as processes
from jitflow.stores._mgfaults import translate
from jitflow.stores._mgfolding import MOST_OPERATIONS
from jitflow.stores._mgpieces import encode_rows
from jitflow.stores.mongodb import SINGLE_DOCUMENTS, TRANSACTIONS, MongodbStore
from jitflow.testing.mongodb_server import RUNNING, MongodbServer, RunningServer, find_program, has_transactions, mongodb_server
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


@pytest.fixture
def replica_set(server: MongodbServer | RunningServer) -> MongodbServer | RunningServer:
    if not has_transactions(server.new_database()):
        pytest.skip("the server that runs is no replica set")
    return server


class TestSingleDocuments(StateStoreContract):
    histories = 6
    server: MongodbServer | RunningServer

    @pytest.fixture(autouse=True)
    def _server(self, server: MongodbServer) -> None:
        type(self).server = server

    def open_store(self, directory: Path) -> AbstractAsyncContextManager[StateStore]:
        return MongodbStore.open(self.server.new_database(), transactions=False)


class TestTransactions(StateStoreContract):
    histories = 6
    server: MongodbServer | RunningServer

    @pytest.fixture(autouse=True)
    def _server(self, replica_set: MongodbServer) -> None:
        type(self).server = replica_set

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


BOTH = pytest.mark.parametrize("transactions", [True, False], ids=["transactions", "single-documents"])


@BOTH
def test_a_second_server_is_told_who_holds_it_and_the_first_when_it_was_replaced(
    server: MongodbServer, *, transactions: bool
) -> None:
    url = server.new_database()

    async def scenario(store: MongodbStore) -> None:
        with pytest.raises(Broken, match="in use by another jitflow server"):
            async with MongodbStore.open(url):
                pass
        with MongoClient(url) as client:  # it is known to be dead
            dead = processes.encode(replace(processes.this_process(), started="1"))
            client.get_default_database().meta.update_one({"_id": "holder"}, {"$set": {"process": dead}})
        async with MongodbStore.open(url):
            if store.scheme == SINGLE_DOCUMENTS:
                await store._beat()
            with pytest.raises(Broken, match="taken over"):
                await store.commit(a_commit())

    run_store(url, scenario, transactions=transactions)


@BOTH
def test_what_a_crash_has_left_half_spread_is_finished(server: MongodbServer, *, transactions: bool) -> None:
    url = server.new_database()
    whole = Commit(row=a_row(), header=BIG, nodes=(("n", b"1"),), effects=(EffectRow(key="k", body=b"2"),), events=(b"e",))
    run_store(url, lambda store: store.commit(whole), transactions=False)
    with MongoClient(url) as client:  # as if the server had died right after the run's document was written
        client.get_default_database().pieces.delete_many({})

    async def check(store: MongodbStore) -> None:
        stored = await store.load("u1")
        assert stored is not None
        assert (stored.header, stored.nodes, stored.effects) == (BIG, whole.nodes, whole.effects)
        assert list(await store.events("u1")) == [(1, b"e")]

    run_store(url, check, reads_only=True)
    run_store(url, check, transactions=transactions)
    with MongoClient(url) as client:
        assert client.get_default_database().pieces.count_documents({}) == 4


@BOTH
@pytest.mark.skipif(not find_program(), reason=WHY)
def test_after_an_outage_all_goes_on_with_nothing_lost_or_doubled(*, transactions: bool) -> None:
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

        run_store(own.new_database(), scenario, transactions=transactions)


async def scheme_of(store: MongodbStore) -> str:
    return store.scheme


def test_how_is_written_depends_on_the_deployment_and_the_setting(
    replica_set: MongodbServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = replica_set.new_database()
    with caplog.at_level("INFO"):
        assert run_store(url, scheme_of) == TRANSACTIONS
        assert run_store(url, scheme_of, transactions=False) == SINGLE_DOCUMENTS
    told = [vars(record)["jitflow_fields"] for record in caplog.records if record.message == "the state in MongoDB is open"]
    assert [fields["writes_by"] for fields in told] == [TRANSACTIONS, SINGLE_DOCUMENTS]
    assert "replica set" in told[0]["why"]
    assert "never" in told[1]["why"]


@pytest.mark.skipif(not find_program(), reason=WHY)
def test_a_server_that_stands_alone_is_written_to_without_transactions() -> None:
    with mongodb_server(alone=True) as own:
        url = own.new_database()
        assert run_store(url, scheme_of) == SINGLE_DOCUMENTS
        run_store(url, lambda store: store.commit(a_commit()))


def test_who_is_refused_transactions_is_told_what_to_set() -> None:
    said = OperationFailure("Transaction numbers are only allowed on a replica set member or mongos", 20)
    error = translate(said, "mongodb://far/jitflow", "mongodb://me:secret@far/jitflow")
    assert isinstance(error, Broken)
    assert 'set state.transactions to "never"' in str(error)


def contents(url: str) -> dict[str, int]:
    with MongoClient(url) as client:
        db = client.get_default_database()
        return {name: db[name].count_documents({}) for name in ("runs", "pieces", "documents", "journal", "pending")}


def test_a_state_is_opened_by_either_way_of_writing(replica_set: MongodbServer) -> None:
    """What one has left half done is finished by the other."""
    url = replica_set.new_database()
    version = 0

    async def commit(store: MongodbStore) -> None:
        nonlocal version
        for _ in range(2):
            version += 1
            effect = EffectRow(key=f"e{version}", body=b"%d" % version)
            await store.commit(Commit(row=a_row(version=version), nodes=(("n", BIG),), effects=(effect,), events=(b"e",)))
        await store.put("kind", [("a", b"%d" % version), ("b", BIG)])

    async def check(store: MongodbStore) -> None:
        stored = await store.load("u1")
        assert stored is not None
        assert (stored.row.version, stored.nodes) == (version, (("n", BIG),))
        assert [effect.body for effect in stored.effects] == [b"%d" % number for number in range(1, version + 1)]
        assert len(await store.events("u1")) == version
        assert await store.get("kind", "a") == b"%d" % version

    for transactions in (False, True, False, True, True):
        run_store(url, commit, transactions=transactions)
        run_store(url, check, reads_only=True)
        with MongoClient(url) as client:  # as if a server without transactions had died while it removed and wrote
            db = client.get_default_database()
            db.journal.insert_one({"run": "gone", "uid": "gone", "removes": True})
            db.pieces.insert_one({"run": "gone", "what": "n", "id": "n", "piece": 0, "pieces": 1, "body": b""})
            db.journal.insert_one({"rows": encode_rows("kind", [("a", b"%d" % version), ("c", b"left")])})
        run_store(url, check, transactions=transactions)
        assert contents(url)["journal"] == 0
    run_store(url, check)
    assert contents(url) == {"runs": 1, "pieces": 1 + 2 * version, "documents": 3, "journal": 0, "pending": 0}
    with MongoClient(url) as client:
        assert not list(client.get_default_database().runs.find({"pending": {"$ne": None}}))


def test_changes_that_are_too_much_for_one_transaction_are_made_in_several(replica_set: MongodbServer) -> None:
    url = replica_set.new_database()
    nodes = tuple((f"n{number:05}", b"%d" % number) for number in range(2 * MOST_OPERATIONS))
    documents = [(f"k{number:05}", b"%d" % number) for number in range(MOST_OPERATIONS + 7)]

    async def scenario(store: MongodbStore) -> None:
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(store.commit(Commit(row=a_row(), nodes=nodes, events=(b"e",))))
            while not writing.done():  # it is there as a whole or not at all
                found = await store.load("u1")
                assert found is None or found.nodes == nodes
        with pytest.raises(VersionConflict):
            await store.commit(Commit(row=a_row(), nodes=nodes))
        await store.put("kind", documents)
        stored = await store.load("u1")
        assert stored is not None
        assert stored.nodes == nodes
        assert list(await store.items("kind")) == documents
        await store.remove("u1")
        assert contents(url) == {"runs": 0, "pieces": 0, "documents": len(documents), "journal": 0, "pending": 0}
        await store.restore(stored, [b"e"])
        assert await store.load("u1") == stored
        with pytest.raises(VersionConflict):
            await store.restore(stored, [b"e"])
        await store.commit(Commit(row=a_row(version=2), events=(b"f",)))
        assert [body for _, body in await store.events("u1")] == [b"e", b"f"]

    run_store(url, scenario)
