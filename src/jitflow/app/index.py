"""The rows of all runs in memory: names, lists and watches are answered from here, without the store."""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from msgspec import Struct

from jitflow.app.ports import Change
from jitflow.ports.store import RunRow

Listener = Callable[[Change], None]

_GONE_KEPT = 10_000
_MOST_KNOWN = 4096
"""Of so many labels and values it is known which run with them succeeded last."""
_SUCCEEDED = "Succeeded"


class _Rows:
    """Rows by uid, in the order of creation. A row that comes late costs a sorting when the order is asked for."""

    def __init__(self) -> None:
        self._rows: dict[str, RunRow] = {}
        self._in_order = True

    def __contains__(self, uid: str) -> bool:
        return uid in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, uid: str) -> RunRow | None:
        return self._rows.get(uid)

    def put(self, row: RunRow) -> None:
        rows = self._rows
        if row.uid not in rows and rows and rows[next(reversed(rows))].created_at > row.created_at:
            self._in_order = False
        rows[row.uid] = row

    def pop(self, uid: str) -> bool:
        return self._rows.pop(uid, None) is not None

    def newest(self, namespace: str) -> Iterator[RunRow]:
        if not self._in_order:
            self._rows = {row.uid: row for row in sorted(self._rows.values(), key=_created_at)}
            self._in_order = True
        rows = reversed(self._rows.values())
        return rows if not namespace else (row for row in rows if row.namespace == namespace)


class _Successes:
    """The newest run that succeeded, None if there is none, by namespace, label and value: of those that were asked for."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str, str], RunRow | None] = {}

    def find(self, namespace: str, label: str, value: str, rows: Callable[[str], Iterable[RunRow]]) -> RunRow | None:
        """Return it; `rows` of the namespace, those created last first, are gone through only if it is not known."""
        key = (namespace, label, value)
        if key not in self._newest:
            if len(self._newest) >= _MOST_KNOWN:
                self._newest.clear()
            found = (row for row in rows(namespace) if row.phase == _SUCCEEDED and row.labels.get(label) == value)
            self._newest[key] = next(found, None)
        return self._newest[key]

    def changed(self, old: RunRow | None, new: RunRow | None) -> None:
        """Take note that a run has another row now; None: there was none, or is none any more."""
        before, after = _keys_of_success(old), _keys_of_success(new)
        for key in before - after:
            newest = self._newest.get(key)
            if newest is not None and old is not None and newest.uid == old.uid:
                del self._newest[key]  # which one it is now is found out when somebody asks
        for key in after & self._newest.keys():
            newest = self._newest[key]
            if new is not None and (newest is None or newest.created_at <= new.created_at):
                self._newest[key] = new


def _keys_of_success(row: RunRow | None) -> set[tuple[str, str, str]]:
    if row is None or row.phase != _SUCCEEDED:
        return set()
    return {(row.namespace, label, value) for label, value in row.labels.items()}


class Page(Struct, frozen=True, kw_only=True):
    """A part of a list. `after`: where the next part begins, 0 at the end; `remaining` only if it was asked for.

    `sequence`: of the newest change when it was made; None of what does not change.
    """

    rows: tuple[RunRow, ...]
    after: int = 0
    remaining: int | None = None
    sequence: int | None = None


class Standing(NamedTuple):
    """How things stand for one who follows runs: uids of which he knows all, rows that are new to him, rows of deleted runs."""

    known: set[str]
    new: list[RunRow]
    gone: list[RunRow]


class RunIndex:
    """Newest rows by uid and by name; told of every change, it tells its listeners in the same breath.

    Live runs are those whose objects are there; of the past ones only the archive knows.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._live = _Rows()
        self._past = _Rows()
        self._by_name: dict[tuple[str, str], list[str]] = {}
        self._listeners: set[Listener] = set()
        self.sequence = 0
        self._successes = _Successes()
        self._gone: deque[tuple[int, RunRow]] = deque(maxlen=_GONE_KEPT)

    def fill(self, rows: Iterable[RunRow]) -> None:
        """Take the store's rows in, oldest first; what changes told meanwhile stays."""
        for row in sorted(rows, key=_created_at):
            self._put(row)

    def hear(self, change: Change) -> None:
        """Take a change in and pass it on."""
        row = change.row
        if change.kind == "DELETED" and not row.archived:
            self._drop(row)
        else:
            self._put(row)
        for listener in tuple(self._listeners):
            listener(change)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Pass every change on to the listener; return how to stop that."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def by_uid(self, uid: str) -> RunRow | None:
        """Return a run's row, also a past one's."""
        return self._live.get(uid) or self._past.get(uid)

    def by_name(self, namespace: str, name: str) -> RunRow | None:
        """Return the newest live run of that name."""
        return self._newest_of(self._live, namespace, name)

    def has_live(self, namespace: str, name: str) -> bool:
        """Return whether there is a live run of that name."""
        uids = self._by_name.get((namespace, name))
        return uids is not None and any(uid in self._live for uid in uids)

    def past_by_name(self, namespace: str, name: str) -> RunRow | None:
        """Return the newest past run of that name."""
        return self._newest_of(self._past, namespace, name)

    def newest(self, namespace: str) -> Iterator[RunRow]:
        """Yield rows of live runs, those created last first; an empty namespace means all."""
        return self._live.newest(namespace)

    def newest_success(self, namespace: str, label: str, value: str) -> RunRow | None:
        """Return the run created last of those, live or past, that have a label and succeeded, None if there is none.

        To ask again costs the same however many runs there are.
        """
        return self._successes.find(namespace, label, value, self.all)

    def all(self, namespace: str) -> Iterator[RunRow]:
        """Yield rows of live and past runs, those created last first; an empty namespace means all."""
        if not len(self._past):
            return self._live.newest(namespace)
        both = (self._live.newest(namespace), self._past.newest(namespace))
        return heapq.merge(*both, key=_created_at, reverse=True)

    def _newest_of(self, rows: _Rows, namespace: str, name: str) -> RunRow | None:
        uids = self._by_name.get((namespace, name))
        if not uids:
            return None
        return next((rows.get(uid) for uid in reversed(uids) if uid in rows), None)

    def standing(self, namespace: str, selects: Callable[[RunRow], bool], after: int | None) -> "Standing":
        """Return what somebody has to be told now who was told of everything up to the sequence `after` (None: of nothing).

        What is to be told comes in the order of sequences, so that who breaks off may go on after the last one.
        """
        rows = sorted((row for row in self.newest(namespace) if selects(row)), key=lambda row: row.sequence)
        known = {row.uid for row in rows if after is not None and row.sequence <= after}
        gone = [row for row in self.deleted(after, namespace) if selects(row)]
        return Standing(known=known, new=[row for row in rows if row.uid not in known], gone=gone)

    def deleted(self, after: int | None, namespace: str) -> Iterator[RunRow]:
        """Yield the rows of runs that were deleted since the sequence `after`, as far as that is remembered; none for None."""
        if after is None:
            return
        yield from (row for at, row in self._gone if at >= after >= row.sequence and namespace in {"", row.namespace})

    def _put(self, row: RunRow) -> None:
        uid, past = row.uid, len(self._past) > 0
        known = self._live.get(uid) or (self._past.get(uid) if past else None)
        if known is not None and known.version > row.version:
            return
        if known is None:
            self._by_name.setdefault((row.namespace, row.name), []).append(row.uid)
        if known is not None and known.live and not row.live:  # with a deletion the sequence grows by one
            self._gone.append((row.sequence - 1, known))
        if row.phase == _SUCCEEDED or (known is not None and known.phase == _SUCCEEDED):
            self._successes.changed(known, row)
        if not row.live:
            self._live.pop(uid)
            self._past.put(row)
        else:
            if past:
                self._past.pop(uid)
            self._live.put(row)
        self.sequence = max(self.sequence, row.sequence)

    def _drop(self, row: RunRow) -> None:
        known = self.by_uid(row.uid)
        if known is None:
            return
        if known.live:
            self._gone.append((self.sequence, known))
        self._successes.changed(known, None)
        self._live.pop(row.uid)
        self._past.pop(row.uid)
        key = (row.namespace, row.name)
        uids = [uid for uid in self._by_name.get(key, ()) if uid != row.uid]
        if uids:
            self._by_name[key] = uids
        else:
            self._by_name.pop(key, None)


def _created_at(row: RunRow) -> float:
    return row.created_at
