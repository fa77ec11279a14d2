"""What a commit or a server that died has left to be spread out, and how it is read."""

from typing import Any

from bson import Binary

from jitflow.stores import _mgpieces as pieces
from jitflow.stores._mgschema import Database

INLINE_BYTES = 4 << 20
"""What waits lies in the run's document, or in the journal, up to this length."""


async def pending(db: Database, head: dict[str, Any]) -> pieces.Parts | None:
    """Return what a run's document says is not spread out yet, or may not be."""
    waiting = head.get("pending")
    if waiting is None:
        return None
    if isinstance(waiting, str):
        waiting = await read_aside(db, waiting)
    return pieces.decode_parts(waiting) if waiting else None


async def read_aside(db: Database, stamp: str) -> bytes:
    """Return a body that lies beside what it belongs to, empty if it was spread out in the meantime."""
    found = await db.pending.find({"of": stamp}).sort([("piece", 1)]).to_list()
    return b"".join(piece["body"] for piece in found)


def aside(body: bytes, stamp: str) -> tuple[Binary | str, list[pieces.Sized]]:
    """Return what is kept of a body that waits (itself, or where it is if it is too long), and what puts it there."""
    if len(body) <= INLINE_BYTES:
        return Binary(body), []
    return stamp, pieces.put_aside(stamp, body)
