"""State in PostgreSQL: one writer with group commit, readers beside it.

What callers hand in while one transaction is on its way becomes the next one: a few statements over arrays, however many changes
it holds. The writer's row in `holder` is updated by each transaction: it fences off a server whose place another one has taken,
and its number tells after a lost connection whether the last transaction was committed.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg

from jitflow.ports.errors import Broken, PortError, Retryable
from jitflow.ports.store import EffectRow, Flaw, RunRow, StoredRun
from jitflow.stores import _process as processes
from jitflow.stores._batched import BatchedStore
from jitflow.stores._bodies import unpack
from jitflow.stores._changes import Documents, Update, first_part
from jitflow.stores._connections import Connection, Connections, discard
from jitflow.stores._faults import is_lost, is_passing, translate
from jitflow.stores._flaws import of_tables
from jitflow.stores._pgschema import QUERIES, migrate, present
from jitflow.stores._pgwriting import fold
from jitflow.stores._queue import Ticket
from jitflow.stores.lease import Lease

_CLOSE_PATIENCE_S = 5.0
_LOOK_S = 0.25
_RETRY_MAX_S = 2.0
_ATTEMPTS = 5
_decode_labels = msgspec.json.Decoder(dict[str, str]).decode


class PostgresqlStore(BatchedStore):
    """A `StateStore` in a PostgreSQL database; make it with `open`."""

    def __init__(self, url: str, *, reads_only: bool = False, lease: Lease | None = None) -> None:
        """Name the database; `open` begins."""
        super().__init__(url, reads_only=reads_only, lease=lease)
        self._connections = Connections(url, self.place)
        self._connection: Connection | None = None
        self._batch = 0

    async def _begin(self, until: float) -> None:
        while True:
            try:
                connection = await self._connections.connect()
                break
            except Retryable:
                if time.monotonic() >= until:
                    raise
                await asyncio.sleep(_LOOK_S)
        try:
            if self._reads_only:
                self.found_version = await present(connection, self.place)
                await discard(connection)
                return
            self.found_version = await migrate(connection, self.place)
            await self._take_hold(connection)
        except psycopg.Error as error:
            await discard(connection)
            raise translate(error, self.place, lost=is_lost(error, connection)) from error
        except BaseException:
            await discard(connection)
            raise
        self._connection = connection
        self._owner.spawn(self._keep_hold(), "keep hold of the state")

    # -- the hold ------------------------------------------------------------------------------------------------------

    async def _take_hold(self, connection: Connection) -> None:
        """Become the server to which this state belongs.

        Raises:
            Broken: another server lives and holds it.
        """
        before_s = math.inf
        while True:
            owner, process, age_s, batch, epoch = await one(connection, "look_at_holder")
            holder = processes.decode(process)
            lead = processes.lead_of(owner, process, epoch=epoch, age_s=age_s, mark=f"{owner} {batch}")
            if processes.may_take(lead, self._lease):
                # First: if this process dies now, whoever comes next has to know of it too.
                await processes.end(holder if owner else None, self._lease)
                asked_at = self._lease.now()
                own = processes.this_process(self._lease, holder, epoch=epoch + 1)
                taken = (self._owner_id, processes.encode(own), owner, batch)
                if await _take(connection, taken):
                    self._lease.taken(asked_at, epoch + 1, before=lead.home, since=own.since)
                    return
            elif age_s < before_s < math.inf or processes.lives(holder):
                raise processes.in_use(self.place, holder)
            else:
                before_s = age_s
                await asyncio.sleep(_LOOK_S)

    async def _keep_hold(self) -> None:
        """Say that this server lives; one that cannot be heard for `HOLD_S` may lose its place."""
        while True:
            await asyncio.sleep(processes.HEARTBEAT_S)
            try:
                await self._writer.submit(Documents("", ()))
            except Retryable:
                continue

    # -- changes -------------------------------------------------------------------------------------------------------

    async def _write(self, batch: Sequence[Ticket[Update]]) -> None:
        """Write a batch in as few transactions as its removals allow, and tell each caller what became of its change."""
        rest = list(batch)
        while rest:
            count = first_part([ticket.change for ticket in rest])
            part, rest = rest[:count], rest[count:]
            await self._write_part(part)

    async def _write_part(self, part: Sequence[Ticket[Update]]) -> None:
        try:
            outcomes = await self._transaction([ticket.change for ticket in part])
        except PortError as error:
            for ticket in part:
                ticket.settle(error)
        except Exception as error:
            if len(part) == 1:
                part[0].settle(translate(error, self.place, lost=False))
                return
            for ticket in part:  # a value that the database cannot hold spoils its own change only
                await self._write_part([ticket])
        else:
            for ticket, outcome in zip(part, outcomes, strict=True):
                ticket.settle(outcome)

    async def _transaction(self, updates: Sequence[Update]) -> list[object]:
        """Make changes durable and return their outcomes.

        Raises:
            Retryable: the database cannot be reached, or has no room: nothing was changed.
            Broken: another server holds the state.
        """
        for attempt in range(_ATTEMPTS):
            is_fresh = self._connection is None
            connection = self._connection = self._connection or await self._connections.connect()
            self._batch += 1
            asked_at = self._lease.now()
            try:
                outcomes = await fold(connection, updates, owner=self._owner_id, batch=self._batch)
            except BaseException as error:
                lost = isinstance(error, Exception) and is_lost(error, connection)
                self._connection = None
                await discard(connection)  # what was begun ends with it
                if isinstance(error, Exception) and attempt < _ATTEMPTS - 1 and ((lost and not is_fresh) or is_passing(error)):
                    continue
                if isinstance(error, psycopg.Error | OSError) and (lost or is_passing(error) or _is_about_all(error)):
                    raise translate(error, self.place, lost=lost) from error
                raise
            if outcomes is None:
                raise self._lose()
            if await self._committed(connection):
                self._lease.renewed(asked_at)
                return outcomes
        raise translate(psycopg.OperationalError("it was lost again and again"), self.place, lost=True)

    async def _committed(self, connection: Connection) -> bool:
        """Commit, and return whether that was done; where the answer is lost, find out."""
        try:
            await connection.execute("COMMIT")
        except (psycopg.Error, OSError):
            self._connection = None
            await discard(connection)
            return await self._find_out()
        except BaseException:
            self._connection = None
            await discard(connection)
            raise
        return True

    async def _find_out(self) -> bool:
        """Return whether the last transaction was committed. Its row is locked for as long as it is still on its way."""
        wait_s = 0.05
        while not self._closed:
            try:
                connection = await self._connections.connect()
            except Retryable:
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, _RETRY_MAX_S)
                continue
            try:
                cursor = await connection.execute(QUERIES["last_batch"], (self._owner_id,))
                row = await cursor.fetchone()
            except (psycopg.Error, OSError):
                await discard(connection)
                await asyncio.sleep(wait_s)
                continue
            self._connection = connection
            if row is None:
                raise self._lose()
            return row[0] >= self._batch
        raise Broken("the state store was closed while it could not be reached: the last changes may not have been stored")

    # -- reads ---------------------------------------------------------------------------------------------------------

    async def load(self, uid: str) -> StoredRun | None:
        """Return a run with its nodes and open effects."""

        async def work(connection: Connection) -> StoredRun | None:
            async with connection.pipeline():
                await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                cursors = [
                    await connection.execute(QUERIES[query], (uid,), binary=True)
                    for query in ("select_run", "select_header", "select_nodes", "select_effects")
                ]
                await connection.execute("COMMIT")
                run, header, nodes, effects = [await cursor.fetchall() for cursor in cursors]
            if not run:
                return None
            return StoredRun(
                row=_row(run[0]),
                header=unpack(header[0][0]) if header else b"",
                nodes=tuple((node, unpack(body)) for node, body in nodes),
                effects=tuple(EffectRow(key=key, body=unpack(body)) for key, body in effects),
            )

        return await self._read(work)

    async def runs(self, *, namespace: str = "", name: str = "", unfinished: bool = False) -> Sequence[RunRow]:
        """Return rows, newest first."""
        wanted = {"namespace": namespace, "name": name, "unfinished": unfinished}
        return [_row(values) for values in await self._rows("select_runs", wanted)]

    async def events(self, uid: str, *, after: int = 0, limit: int = 1000) -> Sequence[tuple[int, bytes]]:
        """Return the run's history in order."""
        return [(number, unpack(body)) for number, body in await self._rows("select_events", (uid, after, limit))]

    async def get(self, kind: str, key: str) -> bytes | None:
        """Return one document."""
        found = await self._rows("select_document", (kind, key))
        return unpack(found[0][0]) if found else None

    async def items(self, kind: str, *, after: str = "", limit: int = 0) -> Sequence[tuple[str, bytes]]:
        """Return the documents of a kind, by key."""
        return [(key, unpack(body)) for key, body in await self._rows("select_documents", (kind, after, after, limit or None))]

    async def kinds(self) -> Sequence[str]:
        """Return the kinds of which there are documents."""
        return [kind for (kind,) in await self._rows("select_kinds", ())]

    async def flaws(self) -> Sequence[Flaw]:
        """Return what does not fit together in the tables (see `SelfChecking`)."""
        lost, headless, events = [await self._rows(query, ()) for query in ("lost_parts", "without_header", "miscounted_events")]
        return of_tables(lost, headless, (await self._rows("sequences", ()))[0], events)

    async def mend(self) -> None:
        """Put right what is mendable (see `SelfChecking`)."""

        async def work(connection: Connection) -> None:
            async with connection.transaction():
                for part in ("headers", "nodes", "effects", "events"):
                    await connection.execute(QUERIES[f"delete_lost_{part}"])
                for run, *_ in await (await connection.execute(QUERIES["miscounted_events"])).fetchall():
                    numbers = await (await connection.execute(QUERIES["numbers_of_events"], (run,))).fetchall()
                    for place, (number,) in enumerate(numbers, start=1):
                        if place != number:
                            await connection.execute(QUERIES["renumber_event"], (place, run, number))
                    await connection.execute(QUERIES["count_events"], (len(numbers), run))
                counter, newest = await (await connection.execute(QUERIES["sequences"])).fetchone() or (0, 0)
                if counter is not None and counter < newest:
                    await connection.execute(QUERIES["save_sequence"], (newest,))

        await self._read(work)

    async def ready(self) -> None:
        """Return when the database answers."""
        await self._rows("look_at_holder", ())

    async def _rows(self, query: str, values: Any) -> list[tuple[Any, ...]]:
        async def work(connection: Connection) -> list[tuple[Any, ...]]:
            return await (await connection.execute(QUERIES[query], values, binary=True)).fetchall()

        return await self._read(work)

    async def _read(self, work: Any) -> Any:
        self._check()
        return await self._connections.read(work)

    async def close(self) -> None:
        """Finish what was begun and let go of the database; harmless to repeat."""
        if self._closed:
            return
        self._closed = True
        await self._owner.close()
        await self._writer.close(_CLOSE_PATIENCE_S)
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error, OSError):  # it is not there: the hold runs out
                if not self._lease.keeps:
                    await self._connection.execute(QUERIES["release_hold"], (self._owner_id,))
            await discard(self._connection)
        await self._connections.close()


async def one(connection: Connection, query: str) -> tuple[Any, ...]:
    """Return the one row of a query."""
    row = await (await connection.execute(QUERIES[query])).fetchone()
    if row is None:
        raise Broken("the table `holder` of the state has lost its row; restore a backup")
    return row


async def _take(connection: Connection, values: tuple[Any, ...]) -> bool:
    """Write who holds it now; False: look again.

    A holder that stands still within a transaction keeps its row locked, also when its time is over: its session is ended.
    """
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL lock_timeout = '1 s'")
            return bool((await connection.execute(QUERIES["take_hold"], values)).rowcount)
    except psycopg.errors.LockNotAvailable:
        await connection.execute(QUERIES["cut_off_holder"])
        return False


def _is_about_all(error: Exception) -> bool:
    """Return whether an error would meet every change alike."""
    return isinstance(translate(error, "", lost=False), Retryable)


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
        live=live,
        archived=archived,
        version=numbers[0],
        sequence=numbers[1],
    )
