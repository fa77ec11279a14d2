"""The rows of all runs in memory: names, lists and watches are answered from here, without the store."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from jitflow.app.ports import Change
from jitflow.ports.store import RunRow

Listener = Callable[[Change], None]

_GONE_KEPT = 10_000


class RunIndex:
    """Newest rows by uid and by name; told of every change, it tells its listeners in the same breath."""

    def __init__(self) -> None:
        """Begin empty."""
        self._rows: dict[str, RunRow] = {}
        self._by_name: dict[tuple[str, str], list[str]] = {}
        self._listeners: set[Listener] = set()
        self.sequence = 0
        self._gone: deque[tuple[int, RunRow]] = deque(maxlen=_GONE_KEPT)

    def fill(self, rows: Iterable[RunRow]) -> None:
        """Take the store's rows in, oldest first; what changes told meanwhile stays."""
        for row in sorted(rows, key=lambda row: row.created_at):
            self._put(row)

    def hear(self, change: Change) -> None:
        """Take a change in and pass it on."""
        if change.kind == "DELETED":
            self._drop(change.row)
        else:
            self._put(change.row)
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
        """Return a run's row."""
        return self._rows.get(uid)

    def by_name(self, namespace: str, name: str) -> RunRow | None:
        """Return the newest run of that name."""
        uids = self._by_name.get((namespace, name))
        return self._rows[uids[-1]] if uids else None

    def newest(self, namespace: str) -> Iterator[RunRow]:
        """Yield rows, those created last first; an empty namespace means all."""
        rows = reversed(self._rows.values())
        return rows if not namespace else (row for row in rows if row.namespace == namespace)

    def deleted(self, after: int | None, namespace: str) -> Iterator[RunRow]:
        """Yield the rows of runs that were deleted since the sequence `after`, as far as that is remembered; none for None."""
        if after is None:
            return
        yield from (row for at, row in self._gone if at >= after >= row.sequence and namespace in {"", row.namespace})

    def _put(self, row: RunRow) -> None:
        known = self._rows.get(row.uid)
        if known is not None and known.version > row.version:
            return
        if known is None:
            self._by_name.setdefault((row.namespace, row.name), []).append(row.uid)
        self._rows[row.uid] = row
        self.sequence = max(self.sequence, row.sequence)

    def _drop(self, row: RunRow) -> None:
        if self._rows.pop(row.uid, None) is None:
            return
        self._gone.append((self.sequence, row))
        key = (row.namespace, row.name)
        uids = [uid for uid in self._by_name.get(key, ()) if uid != row.uid]
        if uids:
            self._by_name[key] = uids
        else:
            self._by_name.pop(key, None)
