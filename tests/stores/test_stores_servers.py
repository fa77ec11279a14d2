"""Servers that share a state: the contract on PostgreSQL, MongoDB and in memory."""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from typing import Any

import psycopg
import pymongo
import pytest
from msgspec.structs import replace

from jitflow.bootstrap.stack import settle_in
from jitflow.ports.errors import Broken
from jitflow.ports.servers import LEASE_S, Lead, Servers, may_lead
from jitflow.ports.store import StateStore
from jitflow.stores import Lease, open_servers, open_store
from jitflow.stores import _process as processes
from jitflow.testing.memory_servers import MemoryServers, MemoryState
from jitflow.testing.memory_store import MemoryStore
from jitflow.testing.mongodb_server import MongodbServer, RunningServer, any_server, has_transactions, is_there
from jitflow.testing.postgresql_server import PostgresqlServer, find_programs, postgresql_server
from jitflow.testing.servers_contract import Clock, ServersContract


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgresqlServer]:
    with postgresql_server() as started:
        yield started


@pytest.fixture(scope="module")
def mongodb() -> Iterator[MongodbServer | RunningServer]:
    with any_server() as started:
        yield started


class Watching(Lease):
    """A lease that notes whether a process lived when its place was taken."""

    def __init__(self, process: subprocess.Popen[bytes], *, home: str, silent: str = "") -> None:
        super().__init__(home=home, share="home", silent=silent)
        self._process = process
        self.lived: list[bool] = []

    def taken(self, asked_at: float, epoch: int, *, before: str, since: int = 0) -> None:
        self.lived.append(self._process.poll() is None)
        super().taken(asked_at, epoch, before=before, since=since)


@contextmanager
def sleeper() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a process that stands for a server of the home `/one` that hangs, and give it with what a store keeps of it."""
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            own = processes.this_process(Lease(home="/one", share="home"))
            yield process, processes.encode(replace(own, pid=process.pid, started=processes._started(process.pid)))
        finally:
            process.kill()


class _InDatabase(ServersContract):
    def servers(self, state: str) -> AbstractAsyncContextManager[Servers]:
        return open_servers(state)

    def store(self, state: str, lease: Lease) -> AbstractAsyncContextManager[StateStore]:
        return open_store(state, lease=lease)


@pytest.mark.skipif(not find_programs(), reason="needs PostgreSQL")
class TestPostgresql(_InDatabase):
    @pytest.fixture(autouse=True)
    def _server(self, postgresql: PostgresqlServer) -> None:
        self.new_state = postgresql.new_schema

    async def fall_silent(self, state: str, lease: Lease) -> None:
        with psycopg.connect(state, autocommit=True) as connection:
            connection.execute("UPDATE holder SET renewed_at = renewed_at - interval '11 s'")

    def test_a_server_that_hangs_is_ended_before_its_place_is_taken(self) -> None:
        """If the one that takes over died between, nobody would know any more which process still holds the home."""

        async def scenario(state: str) -> None:
            with sleeper() as (process, holder):
                async with self.store(state, Lease(home="/one", share="home")):
                    pass
                with psycopg.connect(state, autocommit=True) as connection:
                    row = "owner = 'hangs', process = %s, renewed_at = renewed_at - interval '11 s'"
                    connection.execute(f"UPDATE holder SET {row}", (holder,))
                lease = Watching(process, home="/one")
                async with self.store(state, lease):
                    assert lease.lived == [False]

        self.play(scenario)


class _InMongodb(_InDatabase):
    async def fall_silent(self, state: str, lease: Lease) -> None:
        async with self.servers(state) as servers:
            lease.silent = (await servers.lead()).mark

    def test_a_server_that_hangs_is_ended_before_its_place_is_taken(self) -> None:
        async def scenario(state: str) -> None:
            with sleeper() as (process, holder):
                async with self.store(state, Lease(home="/one", share="home")):
                    pass
                with pymongo.MongoClient[dict[str, Any]](state) as client:
                    hangs = {"$set": {"owner": "hangs", "process": holder}}
                    assert client.get_default_database().meta.update_one({"_id": "holder"}, hangs).matched_count
                async with self.servers(state) as servers:
                    lease = Watching(process, home="/one", silent=(await servers.lead()).mark)
                async with self.store(state, lease):
                    assert lease.lived == [False]

        self.play(scenario)


@pytest.mark.skipif(not is_there(), reason="needs mongod, or SecantusDB")
class TestMongodb(_InMongodb):
    @pytest.fixture(autouse=True)
    def _server(self, mongodb: MongodbServer | RunningServer) -> None:
        self.new_state = mongodb.new_database
        if not has_transactions(mongodb.new_database()):
            pytest.skip("the server that runs is no replica set")


@pytest.mark.skipif(not is_there(), reason="needs mongod, or SecantusDB")
class TestMongodbWithoutTransactions(_InMongodb):
    fences_by_itself = False

    @pytest.fixture(autouse=True)
    def _server(self, mongodb: MongodbServer | RunningServer) -> None:
        self.new_state = mongodb.new_database

    def store(self, state: str, lease: Lease) -> AbstractAsyncContextManager[StateStore]:
        return open_store(state, lease=lease, transactions=False)


class TestMemory(ServersContract):
    @pytest.fixture(autouse=True)
    def _states(self) -> None:
        self.clock = Clock()
        self.states: dict[str, MemoryState] = {}

    def new_state(self) -> str:
        name = str(len(self.states))
        self.states[name] = MemoryState(self.clock)
        return name

    def servers(self, state: str) -> AbstractAsyncContextManager[Servers]:
        return nullcontext(MemoryServers(self.states[state]))

    def store(self, state: str, lease: Lease) -> AbstractAsyncContextManager[StateStore]:
        return self.states[state].open(lease)

    async def fall_silent(self, state: str, lease: Lease) -> None:
        del state, lease
        self.clock.at += LEASE_S + 1

    def test_6_a_lease_is_renewed_by_what_is_written_or_by_itself(self) -> None:
        pytest.skip("the clock of a state in memory stands")


def test_who_may_lead() -> None:
    live = Lead(id="x", age_s=1.0, home="/one", share="anywhere")
    assert may_lead(Lead(), home="/two"), "nobody leads"
    assert not may_lead(live, home="/one")
    assert may_lead(Lead(id="x", age_s=LEASE_S + 0.1, home="/one"), home="/two"), "it was silent for too long"
    dead = Lead(id="x", age_s=1.0, home="/one", share="anywhere", is_dead=True)
    assert may_lead(dead, home="/one"), "whoever has its home adopts its pods"
    assert not may_lead(dead, home="/two"), "its pods may still run under its lease"
    assert may_lead(Lead(id="x", age_s=1.0, home="/one", share="home", is_dead=True), home="/two")


def test_a_lease_without_others_never_ends() -> None:
    clock = Clock()
    lease = Lease(now=clock)
    lease.taken(clock.at, 1, before="")
    clock.at += 1000
    lease.check()
    shared = Lease(now=clock, share="anywhere")
    shared.check()
    shared.taken(clock.at, 1, before="")
    clock.at += LEASE_S
    with pytest.raises(Broken, match="not heard of"):
        shared.check()


class Killed(Exception):
    """Stands for the end of a process."""


def test_a_home_that_was_taken_into_use_halfway_is_taken_into_use_again() -> None:
    """Where its server was killed before it had forgotten what the home had promised."""

    async def scenario() -> None:
        state = MemoryState(Clock())
        nears = {home: MemoryStore() for home in ("/one", "/two")}
        told: list[str] = []

        async def lead(home: str, *, killed: bool = False) -> None:
            async def start_over() -> None:
                told.append(home)
                if killed:
                    raise Killed

            lease = Lease(home=home, share="anywhere")
            async with state.open(lease):
                lease.keeps = False
                await settle_in(lease, nears[home], start_over, lambda until: None)

        for home in ("/one", "/one", "/two", "/two"):
            await lead(home)
        assert told == ["/two"]
        with pytest.raises(Killed):
            await lead("/one", killed=True)
        for home in ("/one", "/one", "/two"):
            await lead(home)
        assert told == ["/two", "/one", "/one", "/two"]

    asyncio.run(scenario())
