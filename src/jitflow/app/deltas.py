"""Following runs by what has changed of them: the cost of a change does not grow with the size of its workflow."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from jitflow.app.index import RunIndex
from jitflow.app.ports import Change, Engine
from jitflow.app.present import outline
from jitflow.model.following import Delta
from jitflow.ports.store import RunRow

_HELD_RUNS = 1_000
"""So many runs' states are held for a client that reads slowly; it is told of all others as a whole."""


DeltaSink = Callable[[Delta], Awaitable[None]]
"""Takes a delta; returns when the client can take more."""


@dataclass(kw_only=True)
class _News:
    """What a client has not been told of one run. `last` None: the whole is to be looked up."""

    row: RunRow
    last: Change | None = None
    complete: bool = False
    nodes: dict[str, None] = field(default_factory=dict[str, None])
    removed: set[str] = field(default_factory=set[str])

    def add(self, change: Change) -> None:
        """Take a later change in."""
        self.row = change.row
        if self.last is None:
            return
        self.last = change
        self.nodes |= dict.fromkeys(change.nodes)
        self.removed.update(change.removed)
        for node_id in change.removed:
            self.nodes.pop(node_id, None)
        self.removed.difference_update(change.nodes)


class Deltas:
    """One client's view of the changes of a set of runs; the last state always arrives, however slowly it reads."""

    def __init__(
        self,
        engine: Engine,
        index: RunIndex,
        *,
        namespace: str,
        selects: Callable[[RunRow], bool],
        after: int | None = None,
    ) -> None:
        """Follow what `run` begins with: what has changed then after the sequence `after` (None: everything), as a whole."""
        self._engine = engine
        self._index = index
        self._namespace = namespace
        self._selects = selects
        self._after = after
        self._known: set[str] = set()
        self._pending: dict[str, _News] = {}
        self._deleted: dict[str, RunRow] = {}
        self._arrived = asyncio.Event()

    async def run(self, sink: DeltaSink) -> None:
        """Tell the sink of what has changed and of every change from now on, until cancelled."""
        self._look()
        stop = self._index.listen(self._hear)
        try:
            while True:
                while self._deleted or self._pending:
                    await self._tell_next(sink)
                self._arrived.clear()
                await self._arrived.wait()
        finally:
            stop()

    def _look(self) -> None:
        """Look at the present, in the same breath in which listening begins: a change between the two would be lost."""
        standing = self._index.standing(self._namespace, self._selects, self._after)
        self._known = standing.known
        self._pending = {row.uid: _News(row=row) for row in standing.new}
        self._deleted = {row.uid: row for row in standing.gone}

    def _hear(self, change: Change) -> None:
        row = change.row
        if self._namespace and row.namespace != self._namespace:
            return
        news = self._pending.pop(row.uid, None)
        if change.kind == "DELETED" or not self._selects(row):
            if row.uid in self._known:
                self._deleted[row.uid] = row
        else:
            self._pending[row.uid] = self._newer(news, change)
        self._arrived.set()

    def _newer(self, news: _News | None, change: Change) -> _News:
        if news is None:
            whole = change.kind == "ADDED"
            uid = change.row.uid
            can_hold = len(self._pending) < _HELD_RUNS and (whole or (uid in self._known and uid not in self._deleted))
            news = _News(row=change.row, last=change if can_hold else None, complete=whole)
        news.add(change)
        return news

    async def _tell_next(self, sink: DeltaSink) -> None:
        if self._deleted:
            row = self._deleted.pop(next(iter(self._deleted)))
            self._known.discard(row.uid)
            await sink(Delta(type="DELETED", sequence=row.sequence, workflow=outline(row)))
            return
        uid, news = next(iter(self._pending.items()))
        del self._pending[uid]
        kind = "MODIFIED" if uid in self._known else "ADDED"
        if news.last is not None:
            nodes = {one.id or "": one for one in news.last.views(news.nodes)}
            removed = tuple(sorted(news.removed))
        else:
            workflow = await self._engine.fetch(uid)
            if workflow is None:
                return  # deleted since; if the client knows it, the change that says so is on its way
            nodes, removed = (workflow.status.nodes if workflow.status is not None else {}), ()
        self._known.add(uid)
        await sink(
            Delta(
                type=kind,
                sequence=news.row.sequence,
                workflow=outline(news.row),
                nodes=nodes,
                removed=removed,
                complete=news.complete or news.last is None,
            )
        )
        await asyncio.sleep(0)
