"""The versions of MongoDB's collections."""

from typing import Any

from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.database import AsyncDatabase

from jitflow.stores._statements import another_program, check_present, too_new

VERSION = 1
"""The version this program writes."""

Database = AsyncDatabase[dict[str, Any]]
COLLECTIONS = frozenset({"meta", "runs", "pieces", "documents", "journal", "pending", "servers"})


async def migrate(db: Database, place: str) -> int:
    """Bring the database to `VERSION` and return the version that it had. Each step may be made again.

    Raises:
        Broken: it was written by a newer program, or it is another program's.
    """
    found, oldest_compatible = await _versions(db, place)
    if oldest_compatible > VERSION:
        raise too_new(place, found, VERSION)
    for number, step in enumerate(_STEPS[found:], start=found + 1):
        await step(db)
        schema = {"version": number, "oldest_compatible": 1}
        await db.meta.update_one({"_id": "schema"}, {"$set": schema}, upsert=True)
    return found


async def present(db: Database, place: str) -> int:
    """Return the version of a database that is only read.

    Raises:
        Broken: it has another version than this program's, or holds no state.
    """
    found, _ = await _versions(db, place)
    check_present(place, found, VERSION)
    return found


async def _versions(db: Database, place: str) -> tuple[int, int]:
    schema = await db.meta.find_one({"_id": "schema"})
    if schema is None:
        # `meta` alone is a first start that was interrupted.
        if set(await db.list_collection_names()) & (COLLECTIONS - {"meta"}) and not await db.meta.find_one({"_id": "begun"}):
            raise another_program(place)
        return 0, 0
    return schema["version"], schema["oldest_compatible"]


async def _initial(db: Database) -> None:
    await db.meta.update_one({"_id": "begun"}, {"$set": {"version": 1}}, upsert=True)
    unique_name = {"unique": True, "partialFilterExpression": {"open": True}, "name": "runs_live_name"}
    await db.runs.create_index([("namespace", ASCENDING), ("name", ASCENDING)], **unique_name)
    await db.runs.create_index([("created_at", DESCENDING), ("run", DESCENDING)], name="runs_newest")
    key = [("run", ASCENDING), ("what", ASCENDING), ("id", ASCENDING), ("piece", ASCENDING)]
    await db.pieces.create_index(key, unique=True, name="pieces_key")
    await db.documents.create_index(
        [("kind", ASCENDING), ("id", ASCENDING), ("piece", ASCENDING)], unique=True, name="documents_key"
    )
    holder = {"owner": "", "process": "", "beat": 0}
    await db.meta.update_one({"_id": "holder"}, {"$setOnInsert": holder}, upsert=True)
    await db.meta.update_one({"_id": "sequence"}, {"$setOnInsert": {"value": 0}}, upsert=True)


_STEPS = (_initial,)
