"""MongoDB's writer: what is decided in memory, written run by run, many runs at once."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from bson import Binary, ObjectId
from msgspec import Struct
from msgspec.structs import replace
from pymongo.errors import DuplicateKeyError, PyMongoError

from jitflow.ports.errors import Retryable, VersionConflict
from jitflow.ports.store import Commit, RunRow
from jitflow.stores import _mgpieces as pieces
from jitflow.stores._changes import (
    Documents,
    Removal,
    Restoration,
    Update,
    already_there,
    does_not_follow,
    name_taken,
    rows_of,
    uids_of,
    whole_of,
)
from jitflow.stores._mgfaults import was_sent
from jitflow.stores._mgleft import aside, pending, read_aside
from jitflow.stores._mgschema import Database
from jitflow.stores._queue import Ticket

_AT_ONCE = 32
_OPERATIONS = 1000
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 2.0


class Head(Struct):
    """What the writer knows of a run's document: it is the only one who changes it."""

    run: Any
    version: int
    events: int


class Writing:
    """Writes batches. Each change is decided by one document; what follows from it is finished however long it takes."""

    def __init__(self, db: Database, translated: Callable[[Exception], Exception], check: Callable[[], None]) -> None:
        """Write to this database; `translated` makes the port's errors, `check` raises when nothing may be written any more."""
        self._db = db
        self._check = check
        self._translated = translated
        self._heads: dict[str, Head] = {}
        self._sequence = 0
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def open(self) -> None:
        """Finish what a server that died had begun."""
        kept = await self._db.meta.find_one({"_id": "sequence"})
        newest = await self._db.runs.find_one({}, {"sequence": 1}, sort=[("sequence", -1)])
        self._sequence = max(kept["value"] if kept else 0, newest["sequence"] if newest else 0)
        async for entry in self._db.journal.find({}):
            await self._finish(entry)
        async for head in self._db.runs.find({"pending": {"$ne": None}}):
            await self._settle(head)

    # -- a batch -------------------------------------------------------------------------------------------------------

    async def write(self, batch: Sequence[Ticket[Update]]) -> None:
        """Write changes; those of one run or kind in their order, others side by side."""
        waiting = list(batch)
        while waiting:
            part, waiting = _side_by_side(waiting)
            try:
                await self._learn([ticket.change for ticket in part])
            except PyMongoError as error:
                for ticket in part:
                    ticket.settle(self._translated(error))
                continue
            chains: dict[str, list[tuple[Ticket[Update], int]]] = {}
            for ticket in part:
                decided = self._decide(ticket.change)
                if isinstance(decided, VersionConflict):
                    ticket.settle(decided)
                else:
                    chains.setdefault(_chain(ticket.change), []).append((ticket, decided))
            await asyncio.gather(*(self._write_chain(chain) for chain in chains.values()))

    async def _learn(self, updates: Sequence[Update]) -> None:
        """Read the documents of runs that are not known, and who holds the names that are asked for."""
        unknown = [uid for uid in uids_of(updates) if uid not in self._heads]
        if unknown:
            fields = {"run": 1, "version": 1, "events": 1}
            async for head in self._db.runs.find({"_id": {"$in": unknown}}, fields):
                self._heads[head["_id"]] = Head(run=head["run"], version=head["version"], events=head["events"])
        names = [{"namespace": row.namespace, "name": row.name} for row in rows_of(updates) if row.finished_at is None]
        self._names: dict[tuple[str, str], str] = {}
        if names:
            async for head in self._db.runs.find({"open": True, "$or": names}, {"namespace": 1, "name": 1}):
                self._names[head["namespace"], head["name"]] = head["_id"]

    def _decide(self, update: Update) -> int | VersionConflict:
        """Return the sequence of a commit, 0 for other changes, or why it is refused."""
        if isinstance(update, Documents | Removal):
            return 0
        row = update.row if isinstance(update, Commit) else update.run.row
        head = self._heads.get(row.uid)
        if isinstance(update, Restoration) and head is not None:
            return already_there(row)
        if isinstance(update, Commit) and row.version != (head.version if head else 0) + 1:
            return does_not_follow(row, head.version if head else 0)
        name = (row.namespace, row.name)
        if row.finished_at is None and self._names.setdefault(name, row.uid) != row.uid:
            return name_taken(row)
        if isinstance(update, Restoration):
            self._sequence = max(self._sequence, row.sequence)
            self._heads[row.uid] = Head(run=ObjectId(), version=row.version, events=len(update.events))
            return 0
        self._sequence += 1
        head = self._heads.setdefault(row.uid, Head(run=ObjectId(), version=0, events=0))
        head.version = row.version
        head.events += len(update.events)
        return self._sequence

    async def _write_chain(self, chain: Sequence[tuple[Ticket[Update], int]]) -> None:
        """Write changes of one run or kind; what follows one that failed fails with it."""
        async with self._slots:
            failed: Exception | None = None
            events = 0
            for ticket, _ in chain:
                events += len(ticket.change.events) if isinstance(ticket.change, Commit) else 0
            for ticket, sequence in chain:
                if failed is None:
                    try:
                        if isinstance(ticket.change, Commit):
                            events -= len(ticket.change.events)
                        await self._write_one(ticket.change, sequence, later=events)
                        ticket.settle(sequence or None)
                        continue
                    except Exception as error:
                        failed = self._translated(error)
                        for uid in uids_of([ticket.change]):
                            self._heads.pop(uid, None)  # it is read again
                ticket.settle(failed)

    async def _write_one(self, update: Update, sequence: int, *, later: int) -> None:
        if isinstance(update, Commit):
            await self._commit(update, sequence, later)
        elif isinstance(update, Documents):
            await self._put(update)
        elif isinstance(update, Removal):
            await self._remove(update.uid)
        else:
            await self._restore(update)

    # -- runs ----------------------------------------------------------------------------------------------------------

    async def _commit(self, commit: Commit, sequence: int, later: int) -> None:
        """Make a commit; `later`: lines of history that come with commits behind it."""
        row = replace(commit.row, sequence=sequence)
        head = self._heads[row.uid]
        last = head.events - later
        parts = pieces.parts_of(commit, last - len(commit.events) + 1)
        body = pieces.encode_parts(parts)
        stamp = secrets.token_hex(8)
        fields = {**pieces.fields_of(row), "events": last, "stamp": stamp, "pending": await self._wait_aside(body, stamp)}
        if row.version == 1:
            document = {"_id": row.uid, "run": head.run, **fields}
            await self._insist(lambda: self._insert(row, document, stamp))
        else:
            await self._insist(lambda: self._update(row, fields, stamp))
        await self._spread({"_id": row.uid, "run": head.run, **fields}, parts, closes=row.finished_at is not None)

    async def _insert(self, row: RunRow, document: dict[str, Any], stamp: str) -> None:
        try:
            await self._db.runs.insert_one(document)
        except DuplicateKeyError:
            there = await self._db.runs.find_one({"_id": row.uid}, {"stamp": 1, "version": 1})
            if there is None:
                raise name_taken(row) from None
            if there.get("stamp") != stamp:  # else an answer was lost: it is there
                raise does_not_follow(row, there["version"]) from None

    async def _update(self, row: RunRow, fields: dict[str, Any], stamp: str) -> None:
        try:
            done = await self._db.runs.update_one({"_id": row.uid, "version": row.version - 1}, {"$set": fields})
        except DuplicateKeyError:
            raise name_taken(row) from None
        if not done.matched_count:
            there = await self._db.runs.find_one({"_id": row.uid}, {"stamp": 1, "version": 1})
            if there is None or there.get("stamp") != stamp:
                raise does_not_follow(row, there["version"] if there else 0)

    async def _wait_aside(self, body: bytes, stamp: str) -> Binary | str:
        """Return what a run's document keeps of its pending parts: themselves, or where they are if they are too long."""
        kept, operations = aside(body, stamp)
        for operation, _ in operations:
            await self._insist(lambda operation=operation: self._db.pending.bulk_write([operation]))
        return kept

    async def _spread(self, head: dict[str, Any], parts: pieces.Parts, *, closes: bool) -> None:
        """Put parts in their places. What is pending stays until the next commit, unless it is long or the last."""
        await self._perform(self._db.pieces, pieces.spread(head["run"], parts, head["sequence"]))
        if closes or isinstance(head["pending"], str):
            same = {"_id": head["_id"], "stamp": head["stamp"]}
            await self._surely(lambda: self._db.runs.update_one(same, {"$set": {"pending": None}}))
        if isinstance(head["pending"], str):
            await self._surely(lambda: self._db.pending.delete_many({"of": head["pending"]}))

    async def _settle(self, head: dict[str, Any]) -> None:
        """Spread out what a server that died has left pending."""
        parts = await pending(self._db, head)
        if parts is not None:
            await self._spread(head, parts, closes=True)

    async def _remove(self, uid: str) -> None:
        head = self._heads.get(uid)
        if head is None:
            return
        await self._keep_sequence()
        entry = {"_id": ObjectId(), "run": head.run, "uid": uid, "removes": True}
        await self._insist(lambda: self._db.journal.replace_one({"_id": entry["_id"]}, entry, upsert=True))
        await self._finish(entry)
        self._heads.pop(uid, None)

    async def _restore(self, update: Restoration) -> None:
        row, head = update.run.row, self._heads[update.run.row.uid]
        whole = whole_of(update)
        entry = {"_id": ObjectId(), "run": head.run, "uid": row.uid, "removes": False}
        await self._insist(lambda: self._db.journal.replace_one({"_id": entry["_id"]}, entry, upsert=True))
        await self._perform(self._db.pieces, pieces.spread(head.run, pieces.parts_of(whole, 1), row.sequence))
        stamp = secrets.token_hex(8)
        fields = {**pieces.fields_of(row), "events": len(update.events), "stamp": stamp, "pending": None}
        await self._surely(lambda: self._insert(row, {"_id": row.uid, "run": head.run, **fields}, stamp))
        await self._finish(entry)

    async def _keep_sequence(self) -> None:
        """Remember the last sequence beside the runs, which may go."""
        value = self._sequence
        await self._insist(lambda: self._db.meta.update_one({"_id": "sequence"}, {"$max": {"value": value}}))

    # -- documents -----------------------------------------------------------------------------------------------------

    async def _put(self, update: Documents) -> None:
        operations = pieces.put_documents(update.kind, update.rows)
        if len(operations) == 1:  # decided by itself
            await self._insist(lambda: self._db.documents.bulk_write([operations[0][0]]))
            return
        if not operations:
            return
        body = pieces.encode_rows(update.kind, update.rows)
        entry: dict[str, Any] = {"_id": ObjectId()}
        entry["rows"] = await self._wait_aside(body, str(entry["_id"]))
        await self._insist(lambda: self._db.journal.replace_one({"_id": entry["_id"]}, entry, upsert=True))
        await self._finish(entry)

    async def _finish(self, entry: dict[str, Any]) -> None:
        """Do what the journal announces, and take it out."""
        if "rows" in entry:
            rows = entry["rows"]
            body = await self._surely(lambda: read_aside(self._db, rows)) if isinstance(rows, str) else bytes(rows)
            kind, documents = pieces.decode_rows(body)
            await self._perform(self._db.documents, pieces.put_documents(kind, documents))
        else:
            same = {"_id": entry["uid"], "run": entry["run"]}
            if entry["removes"]:
                await self._surely(lambda: self._db.runs.delete_one(same))
            if not await self._surely(lambda: self._db.runs.find_one(same, {"_id": 1})):
                await self._surely(lambda: self._db.pieces.delete_many({"run": entry["run"]}))
        await self._surely(lambda: self._db.journal.delete_one({"_id": entry["_id"]}))
        if isinstance(entry.get("rows"), str):
            await self._surely(lambda: self._db.pending.delete_many({"of": entry["rows"]}))

    # -- what must be done ---------------------------------------------------------------------------------------------

    async def _perform(self, collection: Any, operations: Sequence[pieces.Sized]) -> None:
        """Do operations, as many at once as fit into a message."""
        for group in pieces.groups(operations, most=_OPERATIONS, most_bytes=pieces.PIECE_BYTES):
            await self._surely(lambda group=group: collection.bulk_write(group, ordered=False))

    async def _insist(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Do what decides; if its answer was lost, do it again until it is known. What was not sent was not done."""
        self._check()
        try:
            return await work()
        except Exception as error:
            if not was_sent(error):
                raise
        return await self._surely(work)

    async def _surely(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Do what follows from a decision, as often as it takes."""
        wait_s = _FIRST_WAIT_S
        while True:
            self._check()
            try:
                return await work()
            except PyMongoError as error:
                if not isinstance(self._translated(error), Retryable):
                    raise
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _chain(update: Update) -> str:
    return f"kind {update.kind}" if isinstance(update, Documents) else f"run {uids_of([update])[0]}"


def _side_by_side(waiting: list[Ticket[Update]]) -> tuple[list[Ticket[Update]], list[Ticket[Update]]]:
    """Return the first changes that may be made side by side, and the rest.

    A run is removed or restored apart from other changes of it, and a name that is given back can be taken after that.
    """
    touched: set[str] = set()
    apart: set[str] = set()
    names: set[tuple[str, str]] = set()
    for count, ticket in enumerate(waiting):
        update = ticket.change
        uids = uids_of([update])
        alone = isinstance(update, Removal | Restoration)
        if apart.intersection(uids) or (alone and touched.intersection(uids)):
            return waiting[:count], waiting[count:]
        rows = rows_of([update])
        if any(row.finished_at is None and (row.namespace, row.name) in names for row in rows):
            return waiting[:count], waiting[count:]
        names.update((row.namespace, row.name) for row in rows if row.finished_at is not None)
        touched.update(uids)
        apart.update(uids if alone else ())
    return waiting, []
