"""MongoDB's writer where there are transactions: what came in while one was on its way becomes the next one.

A batch is folded in memory and written by a few calls. A change that is too much for one transaction is made as without them
(see `_mgwriting`): one document decides, the rest follows; but each step of it is a transaction that only the holder can make.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from bson import ObjectId
from pymongo import DeleteMany, DeleteOne, InsertOne, ReplaceOne, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError, DuplicateKeyError

from jitflow.ports.errors import PortError, VersionConflict
from jitflow.ports.store import Commit
from jitflow.stores import _mgfolding as folding
from jitflow.stores import _mgpieces as pieces
from jitflow.stores._changes import (
    Documents,
    Fold,
    Position,
    Removal,
    Restoration,
    Update,
    first_part,
    name_taken,
    rows_of,
    uids_of,
    whole_of,
)
from jitflow.stores._mgfence import Again, Fence
from jitflow.stores._mgfolding import Removed, Step
from jitflow.stores._mgleft import aside, pending, read_aside
from jitflow.stores._mgschema import Database
from jitflow.stores._queue import Ticket

_DUPLICATE = 11000
Name = tuple[str, str]


class Transactions:
    """Writes batches, each as one transaction."""

    def __init__(self, db: Database, fence: Fence) -> None:
        """Write to this database, through a fence."""
        self._db = db
        self._fence = fence
        self._sequence = 0
        self._positions: dict[str, Position] = {}
        self._names: dict[Name, str] = {}
        """What is known of runs that have not ended, and of the names they hold: we are the only one who changes them."""

    async def open(self) -> None:
        """Finish what a server that died had begun, whichever way it wrote."""
        await self._fence.transaction(_nothing)
        for name in {"journal", "pending"}.difference(await self._db.list_collection_names()):
            await self._db.create_collection(name)
        kept = await self._db.meta.find_one({"_id": "sequence"})
        newest = await self._db.runs.find_one({}, {"sequence": 1}, sort=[("sequence", -1)])
        self._sequence = max(kept["value"] if kept else 0, newest["sequence"] if newest else 0)
        for entry in await self._db.journal.find({}).to_list():
            await self._finish(entry)
        async for head in self._db.runs.find({"pending": {"$ne": None}}):
            parts = await pending(self._db, head)
            if parts is not None:
                await self._spread(head, parts)
        await self._surely([Step("pending", [DeleteMany({})])])  # nothing leads there any more

    # -- a batch -------------------------------------------------------------------------------------------------------

    async def write(self, batch: Sequence[Ticket[Update]]) -> None:
        """Write changes in as few transactions as their size and removals allow."""
        rest = list(batch)
        while rest:
            count = _fitting([ticket.change for ticket in rest])
            part, rest = rest[:count], rest[count:]
            await self._write_part(part)

    async def _write_part(self, part: Sequence[Ticket[Update]]) -> None:
        updates = [ticket.change for ticket in part]
        try:
            outcomes = [await self._write_large(updates[0])] if folding.is_large(updates[0]) else await self._write_fold(updates)
        except Exception as error:
            self._forget(updates)
            if len(part) > 1 and not isinstance(error, PortError):
                for ticket in part:  # what the database cannot hold spoils its own change only
                    await self._write_part([ticket])
                return
            for ticket in part:
                ticket.settle(self._why(error, ticket.change))
        except BaseException:
            self._forget(updates)
            raise
        else:
            for ticket, outcome in zip(part, outcomes, strict=True):
                ticket.settle(outcome)

    def _why(self, error: Exception, update: Update) -> Exception:
        """Return what the caller of a change is told that could not be written."""
        rows = rows_of([update])
        return name_taken(rows[0]) if rows and _is_duplicate(error) else self._fence.translated(error)

    async def _write_fold(self, updates: Sequence[Update]) -> list[object]:
        async def work(session: AsyncClientSession) -> tuple[list[object], Fold, list[Removed]]:
            before, changes = await self._begin_fold(session, updates)
            outcomes = [_taken(changes, update) for update in updates]
            steps, removed = folding.steps_of(changes, before)
            await self._perform(session, steps, updates)
            return outcomes, changes, removed

        outcomes, changes, removed = await self._fence.transaction(work)
        self._learn_from(changes, updates)
        if removed:
            await self._clear(removed)
        return outcomes

    async def _begin_fold(
        self, session: AsyncClientSession | None, updates: Sequence[Update]
    ) -> tuple[dict[str, Position], Fold]:
        """Return where the runs of changes stand, and a fold that begins there."""
        uids = uids_of(updates)
        if unknown := [uid for uid in uids if uid not in self._positions]:
            fields = {"run": 1, "version": 1, "events": 1}
            async for head in self._db.runs.find({"_id": {"$in": unknown}}, fields, session=session):
                self._positions[head["_id"]] = Position(number=head["run"], version=head["version"], events=head["events"])
        names = {(row.namespace, row.name) for row in rows_of(updates) if row.finished_at is None}
        if asked := [{"namespace": name[0], "name": name[1]} for name in sorted(names) if name not in self._names]:
            wanted = {"open": True, "$or": asked}
            async for head in self._db.runs.find(wanted, {"namespace": 1, "name": 1}, session=session):
                self._names[head["namespace"], head["name"]] = head["_id"]
        before = {uid: self._positions[uid] for uid in uids if uid in self._positions}
        held = {name: self._names[name] for name in _names_of(updates) if name in self._names}
        return before, Fold(before, held, self._sequence, number=_new_number)

    def _learn_from(self, changes: Fold, updates: Sequence[Update]) -> None:
        """Remember what a fold that was written has left."""
        self._forget(updates)
        self._sequence = changes.sequence
        ended = {row.uid for row, _ in changes.rows.values() if row.finished_at is not None}
        self._positions.update(
            (uid, changes.positions[uid]) for uid in uids_of(updates) if uid in changes.positions and uid not in ended
        )
        self._names.update((name, changes.live[name]) for name in _names_of(updates) if name in changes.live)

    def _forget(self, updates: Sequence[Update]) -> None:
        """Let what is known of runs and names be read again."""
        for uid in uids_of(updates):
            self._positions.pop(uid, None)
        names = _names_of(updates)
        if removed := {update.uid for update in updates if isinstance(update, Removal)}:
            names.update(name for name, uid in self._names.items() if uid in removed)
        for name in names:
            self._names.pop(name, None)

    # -- what is too much for one transaction --------------------------------------------------------------------------

    async def _write_large(self, update: Update) -> object:
        if isinstance(update, Commit):
            return await self._commit(update)
        if isinstance(update, Restoration):
            return await self._restore(update)
        assert isinstance(update, Documents)
        return await self._put(update)

    async def _commit(self, commit: Commit) -> object:
        """Make a commit: its parts wait aside, its row decides, then they are spread out."""
        before, changes = await self._begin_fold(None, [commit])
        if isinstance(outcome := _taken(changes, commit), VersionConflict):
            return outcome
        known = before.get(commit.row.uid)
        parts = pieces.parts_of(commit, (known.events if known else 0) + 1)
        stamp = str(ObjectId())
        await self._in_groups("pending", pieces.put_aside(stamp, pieces.encode_parts(parts)))

        async def work(session: AsyncClientSession) -> tuple[object, Fold]:
            before, changes = await self._begin_fold(session, [commit])
            outcome = _taken(changes, commit)
            known = before.get(commit.row.uid)
            if (known.events if known else 0) + 1 != parts.first_event:
                raise Again
            rows = [step for step in folding.steps_of(changes, before, stamp)[0] if step.collection == "runs"]
            await self._perform(session, rows, [commit])
            return outcome, changes

        outcome, changes = await self._fence.transaction(work)
        if isinstance(outcome, VersionConflict):
            await self._surely([Step("pending", [DeleteMany({"of": stamp})])])
            return outcome
        self._learn_from(changes, [commit])
        ((run, (row, _)),) = changes.rows.items()
        head = {"_id": row.uid, "run": run, "sequence": row.sequence, "stamp": stamp, "pending": stamp}
        await self._spread(head, parts)
        return outcome

    async def _restore(self, update: Restoration) -> object:
        """Restore a run: it is announced, its parts are put in their places, then its document lets it be seen."""
        _, changes = await self._begin_fold(None, [update])
        outcome = _taken(changes, update)
        if isinstance(outcome, VersionConflict):
            return outcome
        ((run, (row, events)),) = changes.rows.items()
        entry = {"_id": ObjectId(), "run": run, "uid": row.uid, "removes": False}
        await self._do([Step("journal", [InsertOne(entry)])])
        try:
            await self._in_groups("pieces", pieces.spread(run, pieces.parts_of(whole_of(update), 1), changes.sequence))
            document = {"_id": row.uid, "run": run, **folding.fields_of(row, events)}
            done = DeleteOne({"_id": entry["_id"]})
            await self._do([Step("runs", [InsertOne(document)]), Step("journal", [done])])
        except PortError:
            raise
        except Exception:
            await self._clear([Removed(entry["_id"], run)])
            raise
        self._learn_from(changes, [update])
        return None

    async def _put(self, update: Documents) -> None:
        """Write documents: the journal decides, then they are put in their places."""
        number = ObjectId()
        rows, beside = aside(pieces.encode_rows(update.kind, update.rows), str(number))
        await self._in_groups("pending", beside)
        entry = {"_id": number, "rows": rows}
        await self._do([Step("journal", [ReplaceOne({"_id": number}, entry, upsert=True)])])
        await self._finish(entry)

    # -- what follows --------------------------------------------------------------------------------------------------

    async def _spread(self, head: dict[str, Any], parts: pieces.Parts) -> None:
        """Put in their places what waits for it."""
        for group in _groups(pieces.spread(head["run"], parts, head["sequence"])):
            await self._surely([Step("pieces", group)])
        same = {"_id": head["_id"], "stamp": head["stamp"]}
        steps = [Step("runs", [UpdateOne(same, {"$set": {"pending": None}})])]
        if isinstance(head["pending"], str):
            steps.append(Step("pending", [DeleteMany({"of": head["pending"]})]))
        await self._surely(steps)

    async def _finish(self, entry: dict[str, Any]) -> None:
        """Do what the journal announces, and take it out."""
        if "rows" in entry:
            rows: Any = entry["rows"]
            beside = rows if isinstance(rows, str) else ""
            body = await read_aside(self._db, rows) if isinstance(rows, str) else bytes(rows)
            kind, documents = pieces.decode_rows(body)
            for group in _groups(pieces.put_documents(kind, documents)):
                await self._surely([Step("documents", group)])
            steps = [Step("journal", [DeleteOne({"_id": entry["_id"]})])]
            await self._surely([*steps, Step("pending", [DeleteMany({"of": beside})])] if beside else steps)
            return
        same = {"_id": entry["uid"], "run": entry["run"]}
        if entry["removes"]:
            await self._surely([Step("runs", [DeleteOne(same)])])
        if await self._db.runs.find_one(same, {"_id": 1}):
            await self._surely([Step("journal", [DeleteOne({"_id": entry["_id"]})])])
        else:
            await self._clear([Removed(entry["_id"], entry["run"])])

    async def _clear(self, removed: Sequence[Removed]) -> None:
        """Remove the parts of runs that are gone, some at a time, and what announced it."""
        gone = {"run": {"$in": [one.run for one in removed]}}
        done = DeleteMany({"_id": {"$in": [one.entry for one in removed]}})

        async def work(session: AsyncClientSession) -> bool:
            found = await self._db.pieces.find(gone, {"_id": 1}, session=session).limit(folding.MOST_OPERATIONS).to_list()
            if found:
                await self._db.pieces.delete_many({"_id": {"$in": [piece["_id"] for piece in found]}}, session=session)
            if len(found) < folding.MOST_OPERATIONS:
                await self._db.journal.bulk_write([done], session=session)
            return len(found) < folding.MOST_OPERATIONS

        while not await self._fence.surely(work):
            pass

    async def _perform(self, session: AsyncClientSession, steps: Iterable[Step], updates: Sequence[Update] = ()) -> None:
        """Make calls in a transaction.

        Raises:
            Again: a run does not stand where it was thought to.
        """
        for step in steps:
            done = await self._db[step.collection].bulk_write(step.operations, ordered=step.in_order, session=session)
            if done.matched_count < step.matched:
                self._forget(updates)
                raise Again

    async def _do(self, steps: Sequence[Step]) -> None:
        await self._fence.transaction(lambda session: self._perform(session, steps))

    async def _surely(self, steps: Sequence[Step]) -> None:
        await self._fence.surely(lambda session: self._perform(session, steps))

    async def _in_groups(self, collection: str, operations: Iterable[pieces.Sized]) -> None:
        """Write what nothing leads to yet."""
        for group in _groups(operations):
            await self._do([Step(collection, group)])


async def _nothing(session: AsyncClientSession) -> None:
    """Write nothing: what a transaction is for that only asks whether the place is ours."""
    del session


def _new_number(sequence: int) -> ObjectId:
    del sequence
    return ObjectId()


def _taken(changes: Fold, update: Update) -> object:
    try:
        return changes.take(update)
    except VersionConflict as error:
        return error


def _fitting(updates: Sequence[Update]) -> int:
    """Return how many changes from the first on go into one transaction: at least one, and a large one alone."""
    operations = size = 0
    most = first_part(updates)
    for count, update in enumerate(updates[:most]):
        more, longer = folding.weight(update)
        operations, size = operations + more, size + longer
        if count and (operations > folding.MOST_OPERATIONS or size > folding.MOST_BYTES):
            return count
    return most


def _groups(operations: Iterable[pieces.Sized]) -> Iterable[list[pieces.Operation]]:
    return pieces.groups(operations, most=folding.MOST_OPERATIONS, most_bytes=folding.MOST_BYTES)


def _names_of(updates: Sequence[Update]) -> set[Name]:
    return {(row.namespace, row.name) for row in rows_of(updates)}


def _is_duplicate(error: Exception) -> bool:
    """Return whether a name is taken that nobody was thought to hold."""
    if isinstance(error, BulkWriteError):
        return any(one.get("code") == _DUPLICATE for one in error.details.get("writeErrors", ()))
    return isinstance(error, DuplicateKeyError)
