"""State in one SQLite file: a writer with group commit, readers beside it.

What has gathered is committed in one transaction: throughput grows with the number of callers while each waits for one commit.
A little is written by the event loop itself, much by a thread (`_turns`). Reads run on connections of their own (WAL), so they
never wait for a writer.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import msgspec

from jitflow.ports.errors import Broken
from jitflow.ports.store import Commit, EffectRow, Flaw, RunRow, StoredRun
from jitflow.stores._bodies import unpack
from jitflow.stores._changes import Documents, Removal, Restoration, Update
from jitflow.stores._flaws import of_tables
from jitflow.stores._lock import FileLock
from jitflow.stores._schema import QUERIES, migrate, present
from jitflow.stores._sqlitewriting import Name, write
from jitflow.stores._threads import Job, Jobs, Worker, serve_reads
from jitflow.stores._turns import Writer

T = TypeVar("T")

_READERS = 2
_BUSY_TIMEOUT_S = 10.0
_MOST_HERE = 64
_MOST_BYTES_HERE = 128 * 1024
"""So many changes of so many bytes are written by the event loop itself: a millisecond or two."""
_ROW_BYTES = 200
"""What a row costs beside its bytes, in bytes."""
_RESERVED = 1000
"""So many numbers are written down as given ahead of time: the row that counts them is not written with each change."""
_decode_labels = msgspec.json.Decoder(dict[str, str]).decode


class _Change(Job[Any]):
    """A change that is made together with others."""

    __slots__ = ("update",)

    def __init__(self, update: Update) -> None:
        super().__init__(_by_itself_nothing)
        self.update = update


def _by_itself_nothing(_connection: sqlite3.Connection) -> None:
    """Stand for the work of a job that is done with others."""


class SqliteStore:
    """A `StateStore` in a file; make it with `open`."""

    def __init__(self, path: Path, lock: FileLock | None, *, synchronous: str) -> None:
        """Start the threads on a prepared file (see `open`)."""
        self._path = path
        self._lock = lock
        self._synchronous = synchronous
        self._closed = False
        self._sequence = 0
        self._reserved = 0
        """Numbers up to here may be given: the file says so."""
        self._names: dict[Name, str] = {}
        """Which live run holds which name: nobody else writes the file."""
        self.found_version = 0
        """The version of the schema that was found; 0: none."""
        self._reads: SimpleQueue[Jobs | None] = SimpleQueue()
        self._prepare()
        connect = self._connect if lock else self._connect_reader
        writer, *readers = [connect(), *(self._connect_reader() for _ in range(_READERS))]
        is_little = _are_little if synchronous == "NORMAL" else lambda _jobs: False
        self._writer = Writer(writer, connect(), self._apply, is_little=is_little, patience_s=_BUSY_TIMEOUT_S)
        # They share a queue: a long read does not hold up the others.
        self._readers = [Worker("store-reader", reader, serve_reads, self._reads, max_batch=1) for reader in readers]

    @classmethod
    @asynccontextmanager
    async def open(
        cls, path: Path | str, *, synchronous: str = "NORMAL", reads_only: bool = False
    ) -> AsyncGenerator["SqliteStore"]:
        """Open or make the store's file for the time of the context.

        `synchronous`: `NORMAL` survives a killed process, `FULL` a power cut as well. `reads_only`: another server may hold the
        file, which must be there and of this program's version.

        Raises:
            Broken: the file cannot be used, is newer than this program, or another server holds it.
        """
        if synchronous not in {"NORMAL", "FULL"}:
            raise Broken(f"synchronous must be NORMAL or FULL, not {synchronous!r}")
        store = await asyncio.to_thread(cls._open_to_read if reads_only else cls._open, Path(path), synchronous)
        try:
            yield store
        finally:
            await store.close()

    @classmethod
    def _open(cls, path: Path, synchronous: str) -> "SqliteStore":
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = FileLock(path)
        except OSError as error:
            raise Broken(f"the state file {path} cannot be used: {error.strerror}") from error
        try:
            # Made here, with its mode, as SQLite would follow the umask; its side files take the mode over.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            return cls(path, lock, synchronous=synchronous)
        except OSError as error:
            lock.release()
            raise Broken(f"the state file {path} cannot be used: {error.strerror}") from error
        except sqlite3.Error as error:
            lock.release()
            raise Broken(f"the state file {path} cannot be used: {error}") from error
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _open_to_read(cls, path: Path, synchronous: str) -> "SqliteStore":
        try:
            if not path.is_file():
                raise Broken(f"there is no state at {path}")
            return cls(path, None, synchronous=synchronous)
        except sqlite3.Error as error:
            raise Broken(f"the state file {path} cannot be used: {error}") from error

    def _prepare(self) -> None:
        connection = self._connect() if self._lock else self._connect_reader()
        try:
            prepare = migrate if self._lock else present
            self.found_version = prepare(connection, str(self._path))
            self._sequence = self._reserved = int(connection.execute(QUERIES["select_last_number"]).fetchone()[0])
            if self._lock:
                self._names = {(namespace, name): uid for namespace, name, uid in connection.execute(QUERIES["select_names"])}
        finally:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.execute("PRAGMA cache_size = -16384")
        connection.execute("PRAGMA temp_store = MEMORY")
        return connection

    def _connect_reader(self) -> sqlite3.Connection:
        connection = self._connect()
        connection.execute("PRAGMA cache_size = -4096")
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _write(self, change: Update | Callable[[sqlite3.Connection], object]) -> asyncio.Future[Any]:
        """Return what tells the outcome: a coroutine would take longer, and each change takes one."""
        self._check_writable()
        job = Job(change) if callable(change) else _Change(change)
        self._writer.put(job)
        return job.future

    def _check_writable(self) -> None:
        if self._closed:
            raise Broken("the state store is closed")
        if self._lock is None:
            raise Broken("the state store was opened for reading only")

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise Broken("the state store is closed")
        job: Job[T] = Job(work)
        self._reads.put((job,))
        return await job.future

    # Changes; the private ones run on the writer's thread.

    async def commit(self, commit: Commit) -> int:
        """Apply one change (see `StateStore.commit`)."""
        return await self._write(commit)

    async def remove(self, uid: str) -> None:
        """Delete a run and all that belongs to it."""
        await self._write(Removal(uid))

    async def put(self, kind: str, documents: Iterable[tuple[str, bytes | None]]) -> None:
        """Write small documents in one transaction."""
        await self._write(Documents(kind, tuple(documents)))

    async def put_all(self, documents: Mapping[str, Iterable[tuple[str, bytes | None]]]) -> None:
        """Write small documents of several kinds in one transaction."""
        self._check_writable()
        jobs = [_Change(Documents(kind, tuple(rows))) for kind, rows in documents.items()]
        for job in jobs:
            self._writer.put(job)
        for outcome in await asyncio.gather(*[job.future for job in jobs], return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def restore(self, run: StoredRun, events: Sequence[bytes]) -> None:
        """Write a run as another store had it (see `StateStore.restore`)."""
        await self._write(Restoration(run, tuple(events)))

    def _apply(self, connection: sqlite3.Connection, jobs: Sequence[Job[Any]], *, again: bool) -> Callable[[], None]:
        """Make the changes of a transaction (see `Write`)."""
        changes = [job for job in jobs if isinstance(job, _Change)]
        written = write(connection, [job.update for job in changes], self._sequence, self._names, checked=again)
        for job, outcome in zip(changes, written.outcomes, strict=True):
            job.settle(outcome)
        for job in jobs:
            if not isinstance(job, _Change):
                job.run(connection)
        # Numbers of a transaction that is rolled back are left out, never given twice.
        self._sequence = written.sequence
        reserved = self._reserved
        if self._sequence > reserved:
            reserved = self._sequence + _RESERVED
            connection.execute(QUERIES["save_sequence"], (reserved,))
        return partial(self._committed, reserved, written.names)

    def _committed(self, reserved: int, names: Mapping[Name, str | None]) -> None:
        """Take note of what is in the file now."""
        self._reserved = reserved
        for name, holder in names.items():
            if holder is None:
                self._names.pop(name, None)
            else:
                self._names[name] = holder

    # Reads.

    async def load(self, uid: str) -> StoredRun | None:
        """Return a run with its nodes and open effects."""
        return await self._read(lambda connection: _load(connection, uid))

    async def runs(self, *, namespace: str = "", name: str = "", unfinished: bool = False) -> Sequence[RunRow]:
        """Return rows, newest first."""

        def work(connection: sqlite3.Connection) -> list[RunRow]:
            return [_row(values) for values in connection.execute(QUERIES["select_runs"], (namespace, name, unfinished))]

        return await self._read(work)

    async def events(self, uid: str, *, after: int = 0, limit: int = 1000) -> Sequence[tuple[int, bytes]]:
        """Return the run's history in order."""

        def work(connection: sqlite3.Connection) -> list[tuple[int, bytes]]:
            rows = connection.execute(QUERIES["select_events"], (uid, after, limit))
            return [(number, unpack(body)) for number, body in rows]

        return await self._read(work)

    async def get(self, kind: str, key: str) -> bytes | None:
        """Return one document."""

        def work(connection: sqlite3.Connection) -> bytes | None:
            found = connection.execute(QUERIES["select_document"], (kind, key)).fetchone()
            return unpack(found[0]) if found else None

        return await self._read(work)

    async def items(self, kind: str, *, after: str = "", limit: int = 0) -> Sequence[tuple[str, bytes]]:
        """Return the documents of a kind, by key."""

        def work(connection: sqlite3.Connection) -> list[tuple[str, bytes]]:
            found = connection.execute(QUERIES["select_documents"], (kind, after, limit or -1))
            return [(key, unpack(body)) for key, body in found]

        return await self._read(work)

    async def kinds(self) -> Sequence[str]:
        """Return the kinds of which there are documents."""
        return await self._read(lambda connection: [kind for (kind,) in connection.execute(QUERIES["select_kinds"])])

    async def ready(self) -> None:
        """Return when the file can be read."""
        await self._read(lambda connection: connection.execute(QUERIES["select_sequence"]).fetchone())

    async def flaws(self) -> Sequence[Flaw]:
        """Return what does not fit together in the tables (see `SelfChecking`)."""
        return await self._read(lambda connection: _flaws(connection, str(self._path)))

    async def mend(self) -> None:
        """Put right what is mendable (see `SelfChecking`)."""
        await self._write(self._mend)

    def _mend(self, connection: sqlite3.Connection) -> None:
        for part in ("headers", "nodes", "effects", "events"):
            connection.execute(QUERIES[f"delete_lost_{part}"])
        for run, *_ in connection.execute(QUERIES["miscounted_events"]).fetchall():
            numbers = [number for (number,) in connection.execute(QUERIES["numbers_of_events"], (run,))]
            for place, number in enumerate(numbers, start=1):
                if place != number:
                    connection.execute(QUERIES["renumber_event"], (place, run, number))
            connection.execute(QUERIES["count_events"], (len(numbers), run))
        counter, newest = connection.execute(QUERIES["sequences"]).fetchone()
        if counter is not None and counter < newest:
            connection.execute(QUERIES["save_sequence"], (newest,))

    async def close(self) -> None:
        """Finish what was begun, fold the log into the file and release the lock; harmless to repeat."""
        if self._closed:
            return
        self._closed = True
        if self._lock is not None and self._reserved != self._sequence:
            last = Job(lambda connection: connection.execute(QUERIES["save_sequence"], (self._sequence,)))
            last.future.add_done_callback(lambda future: future.exception())  # without it the next life leaves numbers out
            self._writer.put(last)
        self._writer.close()
        for _ in range(_READERS):
            self._reads.put(None)
        await asyncio.to_thread(self._finish)

    def _finish(self) -> None:
        for one in (self._writer, *self._readers):
            one.join()
        if self._lock is not None:
            self._lock.release()


def _are_little(jobs: Jobs) -> bool:
    """Return whether jobs are a few small changes, which take the event loop no time worth speaking of."""
    if len(jobs) > _MOST_HERE:
        return False
    size = 0
    for job in jobs:
        update = job.update if isinstance(job, _Change) else None
        if isinstance(update, Commit):
            rows = len(update.nodes) + len(update.effects) + len(update.nodes_removed) + len(update.effects_done)
            size += _ROW_BYTES * (1 + rows) + len(update.header or b"") + sum(map(len, update.events))
            for _, body in update.nodes:
                size += len(body)
            for effect in update.effects:
                size += len(effect.body)
        elif isinstance(update, Documents):
            size += _ROW_BYTES * len(update.rows)
            for _, body in update.rows:
                size += len(body or b"")
        else:
            return False
    return size <= _MOST_BYTES_HERE


def _flaws(connection: sqlite3.Connection, place: str) -> list[Flaw]:
    def damaged(text: object) -> Flaw:
        remedy = "stop the server, and restore a backup into an empty state"
        return Flaw(where=place, what=f"the file is damaged: {text}", remedy=remedy, mendable=False)

    found: list[Flaw] = []
    try:
        found += [damaged(text) for (text,) in connection.execute("PRAGMA integrity_check(20)") if text != "ok"]
        tables = [
            connection.execute(QUERIES[query]).fetchall() for query in ("lost_parts", "without_header", "miscounted_events")
        ]
        found += of_tables(tables[0], tables[1], connection.execute(QUERIES["sequences"]).fetchone(), tables[2])
    except sqlite3.DatabaseError as error:  # so damaged that not even that can be read to its end
        found.append(damaged(error))
    return found


def _row(values: Sequence[Any]) -> RunRow:
    uid, namespace, name, phase, created, started, finished, labels, message, progress, live, archived, *numbers = values
    return RunRow(
        uid=uid,
        namespace=namespace,
        name=name,
        phase=phase,
        created_at=created,
        started_at=started,
        finished_at=finished,
        labels=_decode_labels(labels),
        message=message,
        progress=progress,
        live=bool(live),
        archived=bool(archived),
        version=numbers[0],
        sequence=numbers[1],
    )


def _load(connection: sqlite3.Connection, uid: str) -> StoredRun | None:
    found = connection.execute(QUERIES["select_run"], (uid,)).fetchone()
    if found is None:
        return None
    run = (found[-1],)
    header = connection.execute(QUERIES["select_header"], run).fetchone()
    return StoredRun(
        row=_row(found[:-1]),
        header=unpack(header[0]) if header else b"",
        nodes=tuple((node, unpack(body)) for node, body in connection.execute(QUERIES["select_nodes"], run)),
        effects=tuple(EffectRow(key=key, body=unpack(body)) for key, body in connection.execute(QUERIES["select_effects"], run)),
    )
