"""Watching runs: what a client has not been told yet, at most one entry per run, however slowly it reads."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from jitflow.app.index import RunIndex
from jitflow.app.ports import Change, Engine
from jitflow.app.present import document, outline
from jitflow.model import argo
from jitflow.ports.store import RunRow

WatchSink = Callable[[str, argo.Workflow | dict[str, Any]], Awaitable[None]]
"""Takes `ADDED`, `MODIFIED` or `DELETED` and the object; returns when the client can take more."""

_REST_FACTOR = 4.0
_REST_ABOVE_S = 0.005
_MAX_REST_S = 1.0


class Watch:
    """One client's view of a set of runs; consistent: ADDED before MODIFIED before DELETED, the last state always arrives."""

    def __init__(
        self,
        engine: Engine,
        index: RunIndex,
        *,
        namespace: str,
        selects: Callable[[RunRow], bool],
        after: int | None = None,
        only_rows: bool = False,
    ) -> None:
        """Watch what `run` begins with: what has changed then after the sequence `after` (None: everything)."""
        self._engine = engine
        self._index = index
        self._namespace = namespace
        self._selects = selects
        self._only_rows = only_rows
        self._after = after
        self._deleted: dict[str, RunRow] = {}
        self._known: set[str] = set()
        self._pending: dict[str, RunRow | None] = {}
        self._arrived = asyncio.Event()

    async def run(self, sink: WatchSink) -> None:
        """Tell the sink of the present and of every change, until cancelled."""
        self._look()
        stop = self._index.listen(self._hear)
        try:
            while True:
                while self._pending:
                    await self._tell_next(sink)
                self._arrived.clear()
                await self._arrived.wait()
        finally:
            stop()

    def _look(self) -> None:
        """Look at the present, in the same breath in which listening begins: a change between the two would be lost."""
        standing = self._index.standing(self._namespace, self._selects, self._after)
        self._deleted = {row.uid: row for row in standing.gone}
        self._known = standing.known | self._deleted.keys()
        self._pending = {row.uid: row for row in standing.new} | dict.fromkeys(self._deleted)

    def _hear(self, change: Change) -> None:
        row = change.row
        if self._namespace and row.namespace != self._namespace:
            return
        gone = change.kind == "DELETED" or not self._selects(row)
        # To the end: a client that begins again after the last sequence that it was told has missed nothing before it.
        self._pending.pop(row.uid, None)
        if not gone:
            self._pending[row.uid] = row
        elif row.uid in self._known:
            self._pending[row.uid] = None
            self._deleted[row.uid] = row
        self._arrived.set()

    async def _tell_next(self, sink: WatchSink) -> None:
        uid = next(iter(self._pending))
        row = self._pending.pop(uid)
        began = time.perf_counter()
        if row is None:
            self._known.discard(uid)
            await sink("DELETED", outline(self._deleted.pop(uid)))
            return
        value = await self._value(row)
        cost_s = time.perf_counter() - began
        if value is None:
            # Deleted since; if the client knows it, the change that says so is on its way.
            return
        kind = "MODIFIED" if uid in self._known else "ADDED"
        self._known.add(uid)
        await sink(kind, value)
        # A document costs as much as the workflow is large: leave the loop to others for a multiple of that.
        await asyncio.sleep(min(cost_s * _REST_FACTOR, _MAX_REST_S) if cost_s > _REST_ABOVE_S else 0)

    async def _value(self, row: RunRow) -> argo.Workflow | dict[str, Any] | None:
        newest = self._index.by_uid(row.uid) or row
        if self._only_rows:
            return outline(newest)
        workflow = await self._engine.fetch(row.uid)
        return None if workflow is None else document(workflow, newest)
