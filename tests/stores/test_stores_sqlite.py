"""What is SQLite's own: the file, its lock and schema, compression, and what a kill leaves."""

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from jitflow.ports.errors import Broken, Busy, VersionConflict
from jitflow.ports.store import Commit
from jitflow.stores import _turns
from jitflow.stores._threads import Gatherer, Job, Jobs
from jitflow.stores.sqlite import SqliteStore
from jitflow.testing.store_contract import BIG, a_commit, a_row


def test_file_and_directory_belong_to_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state" / "state.db"
    old = os.umask(0)
    try:

        async def scenario() -> None:
            async with SqliteStore.open(path) as store:
                await store.commit(a_commit())
                for file in path.parent.iterdir():
                    assert stat.S_IMODE(file.stat().st_mode) == 0o600, file

        asyncio.run(scenario())
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_second_server_is_told_who_holds_the_file(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with SqliteStore.open(tmp_path / "state.db"):
            with pytest.raises(Broken, match=f"process {os.getpid()}"):
                async with SqliteStore.open(tmp_path / "state.db"):
                    pass
        async with SqliteStore.open(tmp_path / "state.db") as store:
            assert not await store.runs()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE schema_version SET version = 99, oldest_compatible = 99", "newer jitflow"),
        ("DROP TABLE schema_version", "another program"),
    ],
)
def test_a_file_that_is_not_ours_to_write_is_refused(tmp_path: Path, statement: str, message: str) -> None:
    path = tmp_path / "state.db"

    async def open_once() -> None:
        async with SqliteStore.open(path) as store:
            await store.commit(a_commit())

    asyncio.run(open_once())
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(Broken, match=message):
        asyncio.run(open_once())
    assert path.read_bytes() == before
    with pytest.raises(Broken, match=message):  # and the lock was given back
        asyncio.run(open_once())


def test_a_newer_but_compatible_schema_is_used(tmp_path: Path) -> None:
    path = tmp_path / "state.db"

    async def open_once() -> int:
        async with SqliteStore.open(path) as store:
            return len(await store.runs())

    asyncio.run(open_once())
    connection = sqlite3.connect(path)
    connection.execute("UPDATE schema_version SET version = 99, oldest_compatible = 1")
    connection.commit()
    connection.close()
    assert asyncio.run(open_once()) == 0


@pytest.mark.parametrize("content", [b"this is not a database at all, but a text of some length" * 40])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(content)

    async def scenario() -> None:
        async with SqliteStore.open(path):
            pass

    with pytest.raises(Broken, match=r"state\.db cannot be used"):
        asyncio.run(scenario())
    assert path.read_bytes() == content


def test_a_place_that_cannot_hold_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    async def scenario() -> None:
        async with SqliteStore.open(tmp_path / "file" / "state.db"):
            pass

    with pytest.raises(Broken, match=r"file/state\.db cannot be used"):
        asyncio.run(scenario())


def test_large_documents_lie_deflated(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with SqliteStore.open(tmp_path / "state.db") as store:
            await store.commit(Commit(row=a_row(), header=BIG, nodes=(("n", BIG), ("random", os.urandom(8192)))))
            stored = await store.load("u1")
            assert stored is not None
            assert dict(stored.nodes)["n"] == BIG

    asyncio.run(scenario())
    connection = sqlite3.connect(tmp_path / "state.db")
    (header,) = connection.execute("SELECT length(body) FROM headers").fetchone()
    sizes = dict(connection.execute("SELECT id, length(body) FROM nodes"))
    connection.close()
    assert header < len(BIG) / 10
    assert sizes["n"] < len(BIG) / 10
    assert sizes["random"] == 8193, "what does not shrink stays as it is"


def test_a_value_sqlite_cannot_hold_spoils_only_its_own_commit(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with SqliteStore.open(tmp_path / "state.db") as store:
            results = await asyncio.gather(
                store.commit(a_commit("u1")),
                store.commit(a_commit("u2", message="\ud800")),
                store.commit(a_commit("u3")),
                return_exceptions=True,
            )
            assert isinstance(results[1], Exception)
            assert {row.uid for row in await store.runs()} == {"u1", "u3"}
            sequences = [row.sequence for row in await store.runs()]
            assert len(set(sequences)) == 2

    asyncio.run(scenario())


def test_sequence_goes_on_after_a_restart_even_without_the_newest_run(tmp_path: Path) -> None:
    async def first() -> int:
        async with SqliteStore.open(tmp_path / "state.db") as store:
            await store.commit(a_commit("u1"))
            last = await store.commit(a_commit("u2"))
            await store.remove("u2")
            return last

    async def second() -> int:
        async with SqliteStore.open(tmp_path / "state.db") as store:
            return await store.commit(a_commit("u2"))

    assert asyncio.run(first()) < asyncio.run(second())


def test_no_number_is_given_twice_when_a_server_was_killed(tmp_path: Path) -> None:
    """The counter is written ahead of the numbers: what a kill leaves is a copy of the files while they are in use."""
    left = tmp_path / "left"
    left.mkdir()

    async def scenario() -> None:
        async with SqliteStore.open(tmp_path / "state.db") as store:
            last = 0
            for number in range(1100):
                last = await store.commit(a_commit(uid=f"u{number}", name=f"n{number}"))
                await store.remove(f"u{number}")
            for file in tmp_path.glob("state.db*"):
                shutil.copy(file, left)
        async with SqliteStore.open(left / "state.db") as store:
            assert await store.commit(a_commit()) > last
        async with SqliteStore.open(tmp_path / "state.db") as store:
            assert await store.commit(a_commit()) == last + 1, "who closes it leaves none out"

    asyncio.run(scenario())


def test_one_that_does_not_fit_spoils_none_of_a_batch(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with SqliteStore.open(tmp_path / "state.db") as store:
            await store.commit(a_commit(uid="there", name="taken"))
            nodes, events = tuple((f"n{number:02}", b"{}") for number in range(67)), (b"first", b"second")
            whole = [replace(a_commit(uid=f"u{number}", name=f"n{number}"), nodes=nodes, events=events) for number in range(75)]
            changes = [store.commit(one) for one in whole]
            changes.insert(40, store.commit(a_commit(uid="late", name="taken")))
            changes.insert(20, store.commit(a_commit(uid="there", name="other")))
            found = await asyncio.gather(*changes, return_exceptions=True)
            failed = [number for number, one in enumerate(found) if isinstance(one, VersionConflict)]
            assert failed == [20, 41]
            numbers = [one for one in found if isinstance(one, int)]
            assert len(numbers) == 75
            assert numbers == sorted(set(numbers))
            assert len(await store.runs()) == 76
            for number in (0, 63, 74):
                stored = await store.load(f"u{number}")
                assert stored is not None
                assert stored.nodes == nodes
                assert await store.events(f"u{number}") == [(1, b"first"), (2, b"second")]

    asyncio.run(scenario())


def test_an_unknown_synchronous_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with SqliteStore.open(tmp_path / "state.db", synchronous="OFF; DROP TABLE runs"):
            pass

    with pytest.raises(Broken, match="NORMAL or FULL"):
        asyncio.run(scenario())


def test_schema_from_scratch_is_the_current_version(tmp_path: Path) -> None:
    from jitflow.stores._schema import VERSION

    async def scenario() -> None:
        async with SqliteStore.open(tmp_path / "state.db"):
            pass

    asyncio.run(scenario())
    connection = sqlite3.connect(tmp_path / "state.db")
    assert connection.execute("SELECT version FROM schema_version").fetchall() == [(VERSION,)]
    connection.close()


WRITER = """
import asyncio, sys
from jitflow.ports.store import Commit, EffectRow
from jitflow.stores.sqlite import SqliteStore
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
    async with SqliteStore.open(sys.argv[1]) as store:
        await asyncio.gather(*(produce(store, f"u{number}") for number in range(8)))

asyncio.run(main())
"""


def test_what_was_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged: dict[str, int] = {}
        deadline = time.monotonic() + 30
        while sum(acknowledged.values()) < 400 and time.monotonic() < deadline:
            uid, version = process.stdout.readline().split()
            acknowledged[uid] = int(version)
        process.send_signal(signal.SIGKILL)
        for line in process.stdout:  # said before the kill, still in the pipe
            if line.endswith("\n") and len(line.split()) == 2:
                acknowledged[line.split()[0]] = int(line.split()[1])
    assert len(acknowledged) == 8

    async def check() -> None:
        async with SqliteStore.open(path) as store:  # the dead holder's lock is gone
            for uid, version in acknowledged.items():
                stored = await store.load(uid)
                assert stored is not None
                found = stored.row.version
                assert found >= version
                assert stored.header == str(found).encode() * 2000
                assert [effect.key for effect in stored.effects] == [f"e{found}"], "a commit is whole or absent"
                assert dict(stored.nodes)[f"n{found % 7}"] == str(found).encode()
                events = await store.events(uid, limit=10**6)
                assert [int(body) for _, body in events] == list(range(1, found + 1))

    asyncio.run(check())


def test_a_file_of_an_older_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    connection = sqlite3.connect(path)
    connection.executescript((resources.files("jitflow.stores") / "sql" / "001_initial.sql").read_text())
    connection.execute(
        "INSERT INTO runs (uid, namespace, name, phase, created_at, labels, message, progress, version, sequence, events) "
        "VALUES ('u1', 'default', 'old', 'Succeeded', 1.0, '{}', '', '', 1, 1, 0)"
    )
    connection.commit()
    connection.close()

    async def scenario() -> None:
        async with SqliteStore.open(path) as store:
            (row,) = await store.runs()
            assert (row.name, row.live, row.archived) == ("old", True, False)
            await store.commit(Commit(row=replace(row, version=2, live=False, archived=True)))
            (row,) = await store.runs()
            assert (row.live, row.archived) == (False, True)

    asyncio.run(scenario())


def test_a_change_is_handed_over_alone_at_once_and_with_others_when_no_more_come() -> None:
    async def scenario() -> None:
        handed: list[list[Job[None]]] = []
        gatherer = Gatherer(lambda some: handed.append(list(some)), max_batch=3)
        jobs = [Job(lambda _connection: None) for _ in range(20)]
        gatherer.put(jobs[0])
        assert not handed
        await asyncio.sleep(0)
        assert handed == [jobs[:1]]
        for job in jobs[1:3]:
            gatherer.put(job)
        await asyncio.sleep(0)
        assert len(handed) == 1
        await asyncio.sleep(0)
        assert handed == [jobs[:1], jobs[1:3]]
        for job in jobs[3:7]:
            gatherer.put(job)
        await asyncio.sleep(0)
        assert handed[2:] == [jobs[3:6], jobs[6:7]], "a full batch does not wait"
        gatherer.put(jobs[7])
        rest: list[Jobs] = []
        gatherer.flush(rest.append)  # before the turn has ended
        assert rest == [jobs[7:8]]
        await asyncio.sleep(0)
        assert len(handed) == 4

    asyncio.run(scenario())


def test_changes_that_keep_coming_are_not_waited_for_without_end() -> None:
    async def scenario() -> None:
        handed: list[int] = []
        gatherer = Gatherer(lambda some: handed.append(len(some)), max_batch=100)
        for _ in range(20):
            for _ in range(2):
                gatherer.put(Job(lambda _connection: None))
            await asyncio.sleep(0)
        assert 8 <= handed[0] <= 10

    asyncio.run(scenario())


def test_what_is_handed_in_just_before_the_end_is_stored(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with asyncio.TaskGroup() as group, SqliteStore.open(tmp_path / "state.db") as store:
            group.create_task(store.commit(a_commit("one")))
            await asyncio.sleep(0)
        async with SqliteStore.open(tmp_path / "state.db") as store:
            assert await store.load("one") is not None

    asyncio.run(scenario())


def test_little_is_written_without_the_thread_and_order_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions of one run must follow each other whoever writes them: small ones, large ones, many at once."""
    by_thread: list[int] = []
    serve = _turns.serve_writes

    def counted(connection: sqlite3.Connection, jobs: list[Job[Any]], *, write: Any) -> None:
        by_thread.append(len(jobs))
        serve(connection, jobs, write=write)

    monkeypatch.setattr(_turns, "serve_writes", counted)

    async def scenario() -> None:
        async with SqliteStore.open(tmp_path / "state.db") as store:
            for version in range(1, 6):
                await store.commit(a_commit("one", version=version))
            assert not by_thread
            async with asyncio.TaskGroup() as group:
                for version in range(6, 200):
                    body = random.Random(version).randbytes(300_000 if version % 50 == 0 else 10)
                    group.create_task(store.commit(replace(a_commit("one", version=version), header=body)))
                    if version % 7 == 0:
                        await asyncio.sleep(0)
            assert by_thread
            stored = await store.load("one")
            assert stored is not None
            assert (stored.row.version, stored.header) == (199, random.Random(199).randbytes(10))

    asyncio.run(scenario())


def test_the_log_is_folded_although_no_thread_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_turns, "_CHECKPOINT_PAGES", 20)
    monkeypatch.setattr(_turns, "_FEWEST", 4)

    async def scenario() -> None:
        async with SqliteStore.open(tmp_path / "state.db") as store:
            for number in range(2000):
                await store.put("some", [("key", b"%d" % number)])
                await asyncio.sleep(0.01 if number % 50 == 0 else 0)
            assert (tmp_path / "state.db-wal").stat().st_size < 1000 * 4096

    asyncio.run(scenario())


def test_a_lock_of_another_program_does_not_hold_up_the_loop(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with SqliteStore.open(tmp_path / "state.db") as store:
            other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            async with asyncio.TaskGroup() as group:
                commit = group.create_task(store.commit(a_commit("one")))
                began = time.perf_counter()
                await asyncio.sleep(0.05)
                assert time.perf_counter() - began < 1.0
                assert not commit.done()
                other.execute("ROLLBACK")
                other.close()
            assert await store.load("one") is not None

    asyncio.run(scenario())


def test_what_the_loop_cannot_write_the_thread_tries_and_tells(tmp_path: Path) -> None:
    """The disk is full: each change of the group is refused or made as if it had been alone, and later all goes on."""

    async def scenario() -> None:
        async with SqliteStore.open(tmp_path / "state.db") as store:
            await store.commit(a_commit("before"))
            connection = store._writer._connection  # pyright: ignore[reportPrivateUsage]
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages}")
            body = random.Random(1).randbytes(50_000)
            found = await asyncio.gather(
                store.commit(replace(a_commit("large"), header=body)),
                store.commit(a_commit("before", version=2)),
                return_exceptions=True,
            )
            assert isinstance(found[0], Busy)
            assert isinstance(found[1], int)
            assert await store.load("large") is None
            connection.execute("PRAGMA max_page_count = 1000000")
            await store.commit(replace(a_commit("large"), header=body))
            stored = await store.load("large")
            assert stored is not None
            assert stored.header == body

    asyncio.run(scenario())


def test_who_holds_a_name_is_known_after_a_restart_and_not_when_nothing_came_of_it(tmp_path: Path) -> None:
    """No index keeps names apart: what is in memory has to be what is in the file, whatever a transaction came to."""

    async def fill() -> None:
        async with SqliteStore.open(tmp_path / "s.db") as store:
            await store.commit(a_commit("u1", name="held"))
            with pytest.raises(UnicodeEncodeError):
                await store.commit(a_commit("u2", name="free", progress="\ud800"))
            await store.commit(a_commit("u3", name="free"))
            await store.commit(a_commit("u4", name="ended", finished_at=2.0))
            await store.commit(a_commit("u5", name="removed"))
            await store.remove("u5")

    async def look() -> dict[str, bool]:
        found: dict[str, bool] = {}
        async with SqliteStore.open(tmp_path / "s.db") as store:
            for name in ("held", "free", "ended", "removed"):
                try:
                    await store.commit(a_commit(f"new-{name}", name=name))
                except VersionConflict:
                    found[name] = True
                else:
                    found[name] = False
        return found

    asyncio.run(fill())
    assert asyncio.run(look()) == {"held": True, "free": True, "ended": False, "removed": False}


def test_a_name_changes_hands_within_one_transaction(tmp_path: Path) -> None:
    def named(uid: str, version: int = 1, finished_at: float | None = None) -> Commit:
        return a_commit(uid, version=version, name="same", finished_at=finished_at)

    async def scenario() -> list[object]:
        async with SqliteStore.open(tmp_path / "s.db") as store:
            changes = [
                store.commit(named("u1")),
                store.commit(named("u2")),
                store.commit(named("u1", 2, 5.0)),
                store.commit(named("u3")),
                store.remove("u3"),
                store.commit(named("u4")),
                store.commit(named("u5")),
            ]
            return await asyncio.gather(*changes, return_exceptions=True)

    outcomes = asyncio.run(scenario())
    assert [isinstance(outcome, VersionConflict) for outcome in outcomes] == [False, True, False, False, False, False, True]
