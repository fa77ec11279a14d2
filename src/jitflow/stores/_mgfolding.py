"""What a fold of many changes is in MongoDB: a few calls that write many documents each."""

import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

from bson import ObjectId
from pymongo import DeleteOne, InsertOne, UpdateOne

from jitflow.ports.store import RunRow
from jitflow.stores import _mgpieces as pieces
from jitflow.stores._changes import Documents, Fold, Position, Removal, Restoration, Update, whole_of

MOST_OPERATIONS = 1000
MOST_BYTES = 8 << 20
"""What one transaction writes at most: it has to end well within the database's limits (60 s, its cache)."""


class Step(NamedTuple):
    """One call: operations on a collection, in their order or in any. `matched`: how many documents the updates must find."""

    collection: str
    operations: list[Any]
    in_order: bool = False
    matched: int = 0


class Removed(NamedTuple):
    """A run of which only parts are left."""

    entry: ObjectId
    run: Any


def weight(update: Update) -> tuple[int, int]:
    """Return about how many operations a change is, and how many bytes."""
    if isinstance(update, Removal):
        return 2, 0
    if isinstance(update, Documents):
        return len(update.rows), sum(len(body or b"") for _, body in update.rows)
    whole = whole_of(update) if isinstance(update, Restoration) else update
    bodies = [len(body) for _, body in whole.nodes]
    bodies += [len(effect.body) for effect in whole.effects]
    bodies += [len(body) for body in whole.events]
    gone = len(whole.nodes_removed) + len(whole.effects_done)
    return 2 + len(bodies) + gone, sum(bodies) + len(whole.header or b"")


def is_large(update: Update) -> bool:
    """Return whether a change is too much for one transaction."""
    operations, size = weight(update)
    return operations > MOST_OPERATIONS or size > MOST_BYTES


def steps_of(changes: Fold, before: Mapping[str, Position], pending: str | None = None) -> tuple[list[Step], list[Removed]]:
    """Return the calls that write a fold, and the runs whose parts are to be removed afterwards.

    Args:
        changes: the fold.
        before: where its runs stood.
        pending: what the rows say of where their parts wait.
    """
    removed = [Removed(ObjectId(), run) for run in changes.removed]
    made = [*_runs(changes, before, pending), *_parts(changes), *_documents(changes)]
    if removed:
        uids = {position.number: uid for uid, position in before.items()}
        entries = [{"_id": one.entry, "run": one.run, "uid": uids[one.run], "removes": True} for one in removed]
        made.append(Step("journal", [InsertOne(entry) for entry in entries]))
        made.append(Step("meta", [UpdateOne({"_id": "sequence"}, {"$max": {"value": changes.sequence}})]))
    return made, removed


def _runs(changes: Fold, before: Mapping[str, Position], pending: str | None) -> list[Step]:
    """Write the documents of runs: those that are removed or have ended before those that hold a name."""
    uids = {position.number: uid for uid, position in before.items()}
    made: list[Any] = [DeleteOne({"_id": uids[run], "run": run}) for run in changes.removed]
    matched = 0
    for live in (False, True):
        for run, (row, events) in changes.rows.items():
            if (row.finished_at is None) is live:
                known = before.get(row.uid)
                is_there = known is not None and known.number == run
                matched += is_there
                fields = fields_of(row, events, pending)
                made.append(
                    UpdateOne({"_id": row.uid, "version": known.version}, {"$set": fields})
                    if known is not None and is_there
                    else InsertOne({"_id": row.uid, "run": run, **fields})
                )
    return [Step("runs", made, in_order=True, matched=matched)] if made else []


def fields_of(row: RunRow, events: int, pending: str | None = None) -> dict[str, Any]:
    """Return the fields of a run's document whose parts are in their places, or wait in `pending`."""
    return {**pieces.fields_of(row), "events": events, "stamp": pending or secrets.token_hex(8), "pending": pending}


def _parts(changes: Fold) -> list[Step]:
    made: list[pieces.Sized] = []
    for run, body in changes.headers.items():
        made += pieces.put_part(run, pieces.HEADER, "", body)
    for (run, node), body in changes.nodes.items():
        made += pieces.put_part(run, pieces.NODE, node, body)
    for place, ((run, key), body) in enumerate(changes.effects.items()):
        made += pieces.put_part(run, pieces.EFFECT, key, body, order=[changes.sequence, place])
    for run, number, body in changes.events:
        made += pieces.put_part(run, pieces.EVENT, number, body)
    return [Step("pieces", [operation for operation, _ in made])] if made else []


def _documents(changes: Fold) -> list[Step]:
    made: list[pieces.Sized] = []
    for (kind, key), body in changes.documents.items():
        made += pieces.put_document(kind, key, body)
    return [Step("documents", [operation for operation, _ in made])] if made else []
