"""MongoDB with transactions, over a line that holds messages back or loses them: who lost the place changes nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import pytest

from jitflow.engine.tasks import Owner
from jitflow.ports.errors import Broken
from jitflow.ports.store import Commit
from jitflow.stores import Lease, open_servers
from jitflow.stores._mgfolding import MOST_OPERATIONS
from jitflow.stores.mongodb import MongodbStore
from jitflow.testing.mongodb_server import MongodbServer, RunningServer, any_server, has_transactions, is_there
from jitflow.testing.store_contract import a_commit, a_row

pytestmark = pytest.mark.skipif(not is_there(), reason="needs mongod, or SecantusDB (pip install secantusdb)")
TAKE_OVER_S = 10.0
COMMIT = b"commitTransaction\x00"
RUNS = b"\x02update\x00\x05\x00\x00\x00runs\x00"
PIECES = b"\x02update\x00\x07\x00\x00\x00pieces\x00"


@pytest.fixture(scope="module")
def server() -> Iterator[MongodbServer | RunningServer]:
    with any_server() as started:
        if not has_transactions(started.new_database()):
            pytest.skip("the server that runs is no replica set")
        yield started


class Line:
    """A TCP proxy that looks for messages on their way to the server, and does something about the next ones."""

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self._marker = b""
        self._times = 0
        self._what: Callable[[], None] = lambda: None
        self.reached = asyncio.Event()
        self._holding = asyncio.Event()
        self._holding.set()
        self._loses_answers = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._owner = Owner(lambda _name, _error: None)
        self.url = ""

    @classmethod
    @asynccontextmanager
    async def to(cls, url: str) -> AsyncIterator["Line"]:
        line = cls(url)
        listening = await asyncio.start_server(line._accept, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        line.url = urlunsplit(line._to._replace(netloc=f"127.0.0.1:{port}", query="directConnection=true"))
        try:
            yield line
        finally:
            listening.close()
            line._cut()
            await line._owner.close()

    def hold(self, marker: bytes) -> None:
        """Hold back the next message with this in it, and all that follows it on any connection."""
        self._marker, self._times, self._what = marker, 1, self._holding.clear

    def lose(self, marker: bytes, times: int) -> None:
        """Cut all connections instead of handing on the next messages with this in it."""
        self._marker, self._times, self._what = marker, times, self._cut

    def lose_answer(self, marker: bytes, times: int) -> None:
        """Hand on the next messages with this in it, and cut all connections when the answer comes."""

        def what() -> None:
            self._loses_answers = True

        self._marker, self._times, self._what = marker, times, what

    def release(self) -> None:
        """Hand on what was held back."""
        self._holding.set()

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(self._to.hostname, self._to.port)
        self._writers |= {writer, there_writer}
        self._owner.spawn(self._up(reader, there_writer), "up")
        self._owner.spawn(self._down(there_reader, writer), "down")

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readexactly(4):
                message = head + await reader.readexactly(int.from_bytes(head, "little") - 4)
                if self._times and self._marker in message:
                    self._times -= 1
                    self._what()
                    self.reached.set()
                await self._holding.wait()
                writer.write(message)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(1 << 16):
                if self._loses_answers:
                    self._loses_answers = False
                    self._cut()
                await self._holding.wait()
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        writer.close()


LATE = Commit(row=a_row(version=2), header=b"late", nodes=(("n", b"late"),), events=(b"late",))
MANY = tuple((f"n{number:05}", b"late") for number in range(MOST_OPERATIONS + 7))


async def refused(work: Awaitable[object]) -> None:
    with pytest.raises(Broken, match="taken over"):
        await work


@pytest.mark.parametrize(
    ("marker", "commit", "is_decided"),
    [
        pytest.param(RUNS, LATE, False, id="between two commands"),
        pytest.param(COMMIT, LATE, False, id="before the commit"),
        pytest.param(RUNS, Commit(row=a_row(version=2), nodes=MANY), False, id="before a long commit is decided"),
        pytest.param(PIECES, Commit(row=a_row(version=2), nodes=MANY), True, id="after a long commit was decided"),
    ],
)
def test_who_was_stopped_within_a_transaction_and_lost_the_place_writes_nothing(
    server: MongodbServer, marker: bytes, commit: Commit, *, is_decided: bool
) -> None:
    url = server.new_database()

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with Line.to(url) as line, open_servers(url) as servers:
            first, second = Lease(home="/one", share="anywhere"), Lease(home="/two", share="anywhere")
            async with MongodbStore.open(line.url, lease=first) as old, asyncio.TaskGroup() as group:
                await old.commit(a_commit())
                await old.put("kind", [("a", b"1")])
                line.hold(marker)
                stopped = group.create_task(refused(old.commit(commit)))
                behind = group.create_task(refused(old.put("kind", [("a", b"late"), ("b", b"late")])))
                await line.reached.wait()
                second.silent = (await servers.lead()).mark
                began = loop.time()
                async with MongodbStore.open(url, lease=second) as new:
                    assert loop.time() - began < TAKE_OVER_S, "a transaction that was left open is in nobody's way"
                    there = await new.load("u1")
                    assert there is not None
                    assert (there.row.version, len(there.nodes)) == ((2, len(MANY)) if is_decided else (1, 0))
                    mine = Commit(row=a_row(version=there.row.version + 1), header=b"new", nodes=(("n", b"new"),))
                    await new.commit(mine)
                    expected = (await new.load("u1"), await new.events("u1"), await new.items("kind"))
                    line.release()
                    await stopped
                    await behind
                    assert (await new.load("u1"), await new.events("u1"), await new.items("kind")) == expected
                    assert expected[2] == [("a", b"1")]
                    await new.commit(Commit(row=a_row(version=mine.row.version + 1)))

    asyncio.run(scenario())


@pytest.mark.parametrize("what", ["lose", "lose_answer"])
@pytest.mark.parametrize(
    ("marker", "times"),
    [(b"\x02update\x00\x05\x00\x00\x00meta\x00", 1), (RUNS, 1), (COMMIT, 1), (COMMIT, 3)],
    ids=["begin", "runs", "commit", "commit, again and again"],
)
def test_a_lost_connection_is_found_out_about(server: MongodbServer, marker: bytes, times: int, what: str) -> None:
    """Whatever was lost, the change is made once, and its caller is told so.

    PyMongo repeats a commit once by itself; the third time it is up to the store.
    """
    url = server.new_database()

    async def scenario() -> None:
        async with Line.to(url) as line, MongodbStore.open(line.url) as store:
            before = await store.commit(a_commit())
            getattr(line, what)(marker, times)
            made = await store.commit(Commit(row=a_row(version=2), nodes=(("n", b"1"),), events=(b"e",)))
            assert line.reached.is_set()
            assert made > before
            stored = await store.load("u1")
            assert stored is not None
            assert (stored.row.version, stored.row.sequence, stored.nodes) == (2, made, (("n", b"1"),))
            assert list(await store.events("u1")) == [(1, b"e")]
            assert await store.commit(Commit(row=a_row(version=3))) > made

    asyncio.run(scenario())
