"""One transaction of SQLite's writer: many changes in a few statements of many rows.

Each statement gives the interpreter away and has to get it back, beside an event loop that is busy; what SQLite itself does for a
row is little beside that.
"""

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from jitflow.ports.errors import VersionConflict
from jitflow.ports.store import Commit, RunRow
from jitflow.stores._changes import Fold, Position, Update, first_part, rows_of, uids_of
from jitflow.stores._schema import QUERIES

_encode_labels = msgspec.json.Encoder(order="sorted").encode
_MOST_ROWS: Final = 64
"""Of one statement: there are statements for 1, 2, 4 … rows, each prepared once."""
_VALUES: Final = "VALUES "


Name = tuple[str, str]
"""A namespace and the name of a run in it."""


class Written(Struct, frozen=True):
    """What writing came to: each change's outcome, the last number that was given, and who holds names now (None: nobody)."""

    outcomes: list[object]
    sequence: int
    names: dict[Name, str | None]


def write(
    connection: sqlite3.Connection, updates: Sequence[Update], sequence: int, names: Mapping[Name, str], *, checked: bool
) -> Written:
    """Write changes. The caller begins and commits.

    Args:
        connection: within a transaction.
        updates: the changes.
        sequence: the last number that was given before.
        names: which live run held which name before.
        checked: whether it is looked first if there are runs of the same uid. Without, the first that does not fit spoils the
            transaction.

    Raises:
        sqlite3.Error: the transaction is to be rolled back.
    """
    outcomes: list[object] = []
    taken: dict[Name, str | None] = {}

    def holder(name: Name) -> str | None:
        return taken[name] if name in taken else names.get(name)

    while len(outcomes) < len(updates):
        rest = updates[len(outcomes) :]
        part = rest[: first_part(rest)]
        changes = _fold(connection, part, sequence, holder, checked=checked)
        known = set(changes.stored)
        for update in part:
            try:
                outcomes.append(changes.take(update))
            except VersionConflict as error:
                outcomes.append(error)
        _write(connection, changes, known)
        taken |= _taken(changes)
        sequence = changes.sequence
    return Written(outcomes, sequence, taken)


class _Fold(Fold):
    """A fold that remembers which runs are stored, and who held the names that it is about."""

    stored: Sequence[int] = ()
    before: Mapping[Name, str] = {}


def _fold(
    connection: sqlite3.Connection,
    updates: Sequence[Update],
    sequence: int,
    holder: Callable[[Name], str | None],
    *,
    checked: bool,
) -> _Fold:
    asked = uids_of(updates if checked else [one for one in updates if not (isinstance(one, Commit) and one.row.version == 1)])
    found = _positions(connection, asked)
    positions = {uid: Position(number=run, version=version, events=events) for uid, run, version, events, _, _ in found}
    about = {(row.namespace, row.name) for row in rows_of(updates)}
    about.update((namespace, name) for *_, namespace, name in found)
    before = {name: held for name in about if (held := holder(name)) is not None}
    changes = _Fold(positions, before, sequence)
    changes.stored = [position.number for position in positions.values()]
    changes.before = before
    return changes


def _taken(changes: _Fold) -> dict[Name, str | None]:
    """Return the names whose holders are others after a fold."""
    before, after = changes.before, changes.live
    return {name: after.get(name) for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def _positions(connection: sqlite3.Connection, uids: Sequence[str]) -> list[tuple[str, int, int, int, str, str]]:
    if not uids:
        return []
    if len(uids) == 1:
        return connection.execute(QUERIES["select_position"], uids).fetchall()
    return connection.execute(QUERIES["select_positions"], (json.dumps(uids),)).fetchall()


def _write(connection: sqlite3.Connection, changes: Fold, known: set[int]) -> None:
    for run in changes.removed:
        for table in ("header", "nodes", "effects", "events"):
            connection.execute(QUERIES[f"delete_{table}_of_run"], (run,))
        connection.execute(QUERIES["delete_run"], (run,))
    # What has ended comes before what holds a name: it may be the same one.
    for live in (False, True):
        rows = [(run, row, events) for run, (row, events) in changes.rows.items() if (row.finished_at is None) is live]
        old = [(*_state(row), events, run) for run, row, events in rows if run in known]
        if old:
            connection.executemany(QUERIES["update_run"], old)
        _insert(connection, "insert_run", [_new(run, row, events) for run, row, events in rows if run not in known])
    _insert(connection, "put_header", list(changes.headers.items()))
    _put_or_delete(connection, "node", changes.nodes)
    _put_or_delete(connection, "effect", changes.effects)
    _put_or_delete(connection, "document", changes.documents)
    _insert(connection, "append_event", changes.events)


def _new(run: int, row: RunRow, events: int) -> tuple[Any, ...]:
    return (run, row.uid, row.namespace, row.name, *_state(row), events)


def _state(row: RunRow) -> tuple[Any, ...]:
    times = (row.created_at, row.started_at, row.finished_at)
    texts = (_encode_labels(row.labels), row.message, row.progress)
    return (row.phase, *times, *texts, row.live, row.archived, row.version, row.sequence)


def _put_or_delete(connection: sqlite3.Connection, what: str, parts: dict[Any, bytes | None]) -> None:
    if not parts:
        return
    gone = [key for key, body in parts.items() if body is None]
    if gone:
        connection.executemany(QUERIES[f"delete_{what}"], gone)
    _insert(connection, f"put_{what}", [(*key, body) for key, body in parts.items() if body is not None])


def _insert(connection: sqlite3.Connection, query: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write rows with the fewest statements: of the largest size that is left, then of the next smaller."""
    done, left = 0, len(rows)
    while left:
        size = min(1 << (left.bit_length() - 1), _MOST_ROWS)
        if size == 1:
            connection.execute(QUERIES[query], rows[done])
        else:
            connection.execute(_of_rows(query, size), [value for row in rows[done : done + size] for value in row])
        done, left = done + size, left - size


@cache
def _of_rows(query: str, size: int) -> str:
    """Return a statement that inserts one row as one that inserts several."""
    before, _, after = QUERIES[query].partition(_VALUES)
    row, closed, rest = after.partition(")")
    return f"{before}{_VALUES}{', '.join([row + closed] * size)}{rest}"
