"""PostgreSQL, a real server: the contract, then what is its own: schema, hold, lost connections and crashes."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import psycopg
import pytest

from jitflow.ports.errors import Broken, Retryable, Unreachable
from jitflow.ports.servers import LEASE_S
from jitflow.ports.store import Commit, StateStore
from jitflow.stores import _process as processes
from jitflow.stores.postgresql import PostgresqlStore
from jitflow.testing.postgresql_server import PostgresqlServer, find_programs, postgresql_server
from jitflow.testing.slow_link import SlowLink
from jitflow.testing.store_contract import StateStoreContract, a_commit, a_row

pytestmark = pytest.mark.skipif(find_programs() is None, reason="needs PostgreSQL: apt-get install postgresql")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    with postgresql_server() as started:
        yield started


class TestPostgresqlStore(StateStoreContract):
    histories = 12
    server: PostgresqlServer

    @pytest.fixture(autouse=True)
    def _server(self, server: PostgresqlServer) -> None:
        type(self).server = server

    def open_store(self, directory: Path) -> AbstractAsyncContextManager[StateStore]:
        return PostgresqlStore.open(self.server.new_schema())


def run_store(url: str, scenario: object, **options: object) -> object:
    async def run() -> object:
        async with PostgresqlStore.open(url, **options) as store:  # type: ignore[arg-type]
            return await scenario(store)  # type: ignore[operator]

    return asyncio.run(run())


# -- schema ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE schema_version SET version = 99, oldest_compatible = 99", "newer jitflow"),
        ("DROP TABLE schema_version", "another program"),
    ],
)
def test_a_database_that_is_not_ours_to_write_is_refused(server: PostgresqlServer, statement: str, message: str) -> None:
    url = server.new_schema()
    run_store(url, lambda store: store.commit(a_commit()))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())
    for reads_only in (False, True):
        with pytest.raises(Broken, match=message):
            run_store(url, lambda store: store.runs(), reads_only=reads_only)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)


def test_an_empty_database_is_not_made_by_who_only_reads(server: PostgresqlServer) -> None:
    url = server.new_schema()
    with pytest.raises(Broken, match="jitflow state migrate"):
        run_store(url, lambda store: store.runs(), reads_only=True)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()").fetchone() == (0,)


def test_a_user_without_the_right_to_make_tables_is_told_so(server: PostgresqlServer) -> None:
    url = server.new_schema()
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE guest LOGIN PASSWORD 'correct-horse'")
        connection.execute(f"GRANT USAGE ON SCHEMA {url.rpartition('%3D')[2]} TO guest".encode())
    with pytest.raises(Broken, match="GRANT CREATE") as caught:
        run_store(url.replace("postgres@", "guest:correct-horse@"), lambda store: store.runs())
    assert "correct-horse" not in str(caught.value)


@pytest.mark.parametrize("part", ["correct-horse@127.0.0.1:1/x", "correct-horse@127.0.0.1:{port}/nowhere"])
def test_no_password_is_shown(server: PostgresqlServer, part: str) -> None:
    with pytest.raises((Broken, Unreachable)) as caught:
        run_store(f"postgresql://postgres:{part}".format(port=server.port), lambda store: store.runs())
    assert "horse" not in str(caught.value)


def test_a_value_that_the_database_cannot_hold_spoils_only_its_own_commit(server: PostgresqlServer) -> None:
    async def scenario(store: PostgresqlStore) -> None:
        commits = [a_commit("u1"), a_commit("u2", message="\ud800"), a_commit("u3"), a_commit("u4", message="a\0b")]
        results = await asyncio.gather(*(store.commit(commit) for commit in commits), return_exceptions=True)
        assert isinstance(results[1], Exception)
        assert {row.uid: row.message for row in await store.runs()} == {"u1": "", "u3": "", "u4": "a\ufffdb"}

    run_store(server.new_schema(), scenario)


# -- who holds it ------------------------------------------------------------------------------------------------------


def test_a_second_server_is_told_who_holds_it_but_may_read(server: PostgresqlServer) -> None:
    url = server.new_schema()

    async def scenario(store: PostgresqlStore) -> None:
        await store.commit(a_commit())
        with pytest.raises(Broken, match="in use by another jitflow server"):
            async with PostgresqlStore.open(url):
                pass
        async with PostgresqlStore.open(url, reads_only=True) as reader:
            assert len(await reader.runs()) == 1
            with pytest.raises(Broken, match="reading only"):
                await reader.remove("u1")
        await store.commit(a_commit(version=2))

    run_store(url, scenario)


def test_whose_place_was_taken_writes_nothing_any_more(server: PostgresqlServer) -> None:
    url = server.new_schema()

    async def scenario(store: PostgresqlStore) -> None:
        await store.commit(a_commit())
        with psycopg.connect(url, autocommit=True) as connection:  # it was not heard of for long
            connection.execute("UPDATE holder SET process = '', renewed_at = now() - interval '20 s'")
        async with PostgresqlStore.open(url) as other:
            with pytest.raises(Broken, match="taken over"):
                await store.commit(a_commit(version=2))
            with pytest.raises(Broken, match="taken over"):
                await store.load("u1")
            await other.commit(a_commit(version=2))
            assert [row.version for row in await other.runs()] == [2]

    run_store(url, scenario)


@pytest.mark.parametrize("sent", ["all of a part", "a part"])
def test_who_stands_still_within_a_transaction_is_in_nobodys_way_when_its_time_is_over(
    server: PostgresqlServer, sent: str
) -> None:
    url = server.new_schema()
    run_store(url, lambda store: store.commit(a_commit()))

    async def scenario(holder: psycopg.Connection[tuple[object, ...]]) -> None:
        holder.execute("UPDATE holder SET owner = 'old', process = '', renewed_at = now() - interval '20 s'")
        holder.commit()
        with contextlib.ExitStack() as stack:
            if sent == "a part":
                stack.enter_context(holder.pipeline())
            holder.execute("UPDATE holder SET batch = batch + 1 RETURNING batch").fetchone()
            began = time.monotonic()
            async with PostgresqlStore.open(url) as store:
                assert time.monotonic() - began < LEASE_S / 2
                await store.commit(a_commit(version=2))
                with pytest.raises(psycopg.OperationalError):
                    holder.execute("SELECT 1").fetchone()
                assert [row.version for row in await store.runs()] == [2]
            stack.pop_all()  # its connection is gone: there is nothing to leave in order

    with contextlib.closing(psycopg.connect(url)) as holder:
        asyncio.run(scenario(holder))


# -- outages -----------------------------------------------------------------------------------------------------------


def test_a_database_that_is_not_there_is_waited_for_as_long_as_wanted(server: PostgresqlServer) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable, match="cannot be reached"):
        run_store("postgresql://postgres@127.0.0.1:1/postgres", lambda store: store.runs(), patience_s=0.6)
    assert 0.5 < time.monotonic() - began < 10


def test_after_an_outage_all_goes_on_with_nothing_lost_or_doubled() -> None:
    with postgresql_server() as own:

        async def scenario(store: PostgresqlStore) -> None:
            versions = dict.fromkeys((f"u{number}" for number in range(6)), 0)
            away: list[str] = []

            async def write(uid: str) -> None:
                while versions[uid] < 40:
                    version = versions[uid] + 1
                    try:
                        await store.commit(Commit(row=a_row(uid, version=version), events=(str(version).encode(),)))
                    except Retryable as error:  # nothing was changed: the same commit is made again, and never conflicts
                        away.append(str(error))
                        await asyncio.sleep(0.02)
                    else:
                        versions[uid] = version
                        await asyncio.sleep(0.01)

            async def disturb() -> None:
                for how in (signal.SIGINT, signal.SIGKILL):
                    await asyncio.sleep(0.15)
                    await asyncio.to_thread(own.stop, how)
                    with pytest.raises(Unreachable, match="all goes on when it is back"):
                        await store.runs()
                    await asyncio.to_thread(own.start)
                    await store.ready()

            async with asyncio.TaskGroup() as group:
                for uid in versions:
                    group.create_task(write(uid))
                group.create_task(disturb())
            assert away
            for uid in versions:
                assert [int(body) for _, body in await store.events(uid)] == list(range(1, 41))

        run_store(own.new_schema(), scenario)


def test_a_lost_answer_to_a_commit_is_found_out(server: PostgresqlServer) -> None:
    """The link is cut at random moments: also when a commit has been made, and only its answer is missing."""

    async def run() -> None:
        url = server.new_schema()
        async with AsyncExitStack() as stack:
            link = await stack.enter_async_context(SlowLink("127.0.0.1", server.port, rtt_s=0.004))
            opened = PostgresqlStore.open(url.replace(f":{server.port}/", f":{link.port}/"))
            store = await stack.enter_async_context(opened)
            made = asyncio.Event()
            enough = asyncio.Event()

            async def cut() -> None:
                for number in range(25):  # each time some commits have come through, a little later
                    made.clear()
                    await made.wait()
                    await asyncio.sleep(0.0007 * (number % 13))
                    link.cut()
                enough.set()

            async def write(uid: str) -> int:
                version = 0
                while not enough.is_set():
                    commit = Commit(row=a_row(uid, version=version + 1), events=(str(version + 1).encode(),))
                    try:
                        await store.commit(commit)
                    except Retryable:
                        continue
                    version += 1
                    made.set()
                return version

            async with asyncio.TaskGroup() as group:
                writers = {uid: group.create_task(write(uid)) for uid in ("u1", "u2", "u3")}
                group.create_task(cut())
            for uid, writer in writers.items():
                history = [int(body) for _, body in await store.events(uid, limit=100_000)]
                assert history == list(range(1, writer.result() + 1))
                assert history

    asyncio.run(run())


WRITER = """
import asyncio, sys
from jitflow.ports.store import Commit, EffectRow
from jitflow.stores.postgresql import PostgresqlStore
from jitflow.testing.store_contract import a_row

async def produce(store, uid):
    for version in range(1, 1_000_000):
        body = str(version).encode()
        await store.commit(Commit(
            row=a_row(uid, version=version, progress=str(version)), header=body * 2000, nodes=((f"n{version % 7}", body),),
            effects=(EffectRow(key=f"e{version}", body=body),), effects_done=(f"e{version - 1}",), events=(body,)))
        sys.stdout.write(f"{uid} {version}\\n")
        sys.stdout.flush()

async def main():
    async with PostgresqlStore.open(sys.argv[1]) as store:
        await asyncio.gather(*(produce(store, f"u{number}") for number in range(4)))

asyncio.run(main())
"""


def test_what_was_acknowledged_survives_sigkill_and_the_dead_holds_nothing(server: PostgresqlServer) -> None:
    url = server.new_schema()
    acknowledged: dict[str, int] = {}
    with subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while sum(acknowledged.values()) < 100:
            uid, version = process.stdout.readline().split()
            acknowledged[uid] = int(version)
        process.kill()
        for line in process.stdout:
            if line.endswith("\n") and len(line.split()) == 2:
                acknowledged[line.split()[0]] = int(line.split()[1])

    async def check(store: PostgresqlStore) -> None:
        for uid, version in acknowledged.items():
            stored = await store.load(uid)
            assert stored is not None
            found = stored.row.version
            assert found >= version
            assert stored.header == str(found).encode() * 2000
            assert [effect.key for effect in stored.effects] == [f"e{found}"]
            events = await store.events(uid, limit=10**6)
            assert [int(body) for _, body in events] == list(range(1, found + 1))

    began = time.monotonic()
    run_store(url, check)
    assert time.monotonic() - began < processes.HOLD_S / 2, "a holder that is known to be dead is not waited for"
