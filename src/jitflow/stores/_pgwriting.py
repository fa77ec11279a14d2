"""One transaction of PostgreSQL's writer: many changes in a few statements over arrays."""

from collections.abc import Sequence
from typing import Any

import msgspec

from jitflow.ports.errors import VersionConflict
from jitflow.ports.store import RunRow
from jitflow.stores._changes import Fold, Position, Update, rows_of, uids_of
from jitflow.stores._connections import Connection
from jitflow.stores._pgschema import QUERIES

_encode_labels = msgspec.json.Encoder(order="sorted").encode


async def fold(connection: Connection, updates: Sequence[Update], *, owner: str, batch: int) -> list[object] | None:
    """Begin a transaction, write changes and return the outcome of each; None: the state belongs to another server now.

    The caller commits.
    """
    rows = rows_of(updates)
    names = sorted({(row.namespace, row.name) for row in rows})
    async with connection.pipeline():
        await connection.execute("BEGIN")
        held = await connection.execute(QUERIES["claim_batch"], (batch, owner))
        found = await connection.execute(QUERIES["positions"], (uids_of(updates),))
        live = await connection.execute(QUERIES["live_names"], ([name[0] for name in names], [name[1] for name in names]))
        numbers = await connection.execute(QUERIES["select_sequence"])
        positions = {
            uid: Position(number=run, version=version, events=events) for uid, run, version, events in await found.fetchall()
        }
        holders = {(namespace, name): uid for namespace, name, uid in await live.fetchall()}
        last = await numbers.fetchone()
    if not held.rowcount or last is None:
        return None
    changes = Fold(positions, holders, last[0])
    outcomes = [_take(changes, update) for update in updates]
    statements = _rows_first(changes) + _parts(changes)
    if changes.sequence != last[0]:
        statements.append(("save_sequence", (changes.sequence,)))
    async with connection.pipeline():
        for query, values in statements:
            await connection.execute(QUERIES[query], values)
    return outcomes


def _take(changes: Fold, update: Update) -> object:
    try:
        return changes.take(update)
    except VersionConflict as error:
        return error


def _rows_first(changes: Fold) -> list[tuple[str, tuple[Any, ...]]]:
    """Return what is to be executed of runs: removals, then rows that have ended before those that hold a name."""
    made: list[tuple[str, tuple[Any, ...]]] = []
    if changes.removed:
        tables = ("headers", "all_nodes", "all_effects", "events", "runs")
        made.extend((f"delete_{table}", (changes.removed,)) for table in tables)
    for live in (False, True):
        rows = [(run, row, events) for run, (row, events) in changes.rows.items() if (row.finished_at is None) is live]
        if rows:
            made.append(("put_runs", _columns([_values(run, row, events) for run, row, events in rows])))
    return made


def _parts(changes: Fold) -> list[tuple[str, tuple[Any, ...]]]:
    """Return what is to be executed of all that belongs to runs, and of documents."""
    made: list[tuple[str, tuple[Any, ...]]] = []
    if changes.headers:
        made.append(("put_headers", _columns(list(changes.headers.items()))))
    for table, parts in (("nodes", changes.nodes), ("effects", changes.effects), ("documents", changes.documents)):
        gone = [key for key, body in parts.items() if body is None]
        kept = [(*key, body) for key, body in parts.items() if body is not None]
        if gone:
            made.append((f"delete_{table}", _columns(gone)))
        if kept:
            made.append((f"put_{table}", _columns(kept)))
    if changes.events:
        made.append(("append_events", _columns(changes.events)))
    return made


def _values(run: int, row: RunRow, events: int) -> tuple[Any, ...]:
    times = (row.created_at, row.started_at, row.finished_at)
    texts = (_encode_labels(row.labels), row.message.replace("\0", "\ufffd"), row.progress)
    return (
        run,
        row.uid,
        row.namespace,
        row.name,
        row.phase,
        *times,
        *texts,
        row.live,
        row.archived,
        row.version,
        row.sequence,
        events,
    )


def _columns(rows: Sequence[tuple[Any, ...]]) -> tuple[list[Any], ...]:
    return tuple(list(column) for column in zip(*rows, strict=True))
