"""Documents of workflows: made beside the event loop when the workflow is large, and kept while they are what they were."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from jitflow import machine
from jitflow.model import argo
from jitflow.ports.store import StoredRun

KEPT_DOCUMENTS = 64
"""Finished workflows, and small ones that run, whose documents stay in memory."""

KEPT_NODES = 1_000
"""A document with more nodes is read from the store each time."""

SMALL = 50
"""A live workflow's document with at most so many nodes is kept until the workflow changes."""

LARGE = 500
"""With more nodes a document takes so long that others would notice: a thread makes it, from the state, which never changes."""


class Documents:
    """Makes documents. At most one large one at a time: threads share one interpreter."""

    def __init__(self, now: Callable[[], float], host: str) -> None:
        """Tell times by `now`, and pods' machine by its name."""
        self._now = now
        self._host = host
        self._finished: OrderedDict[str, argo.Workflow] = OrderedDict()
        self._small: OrderedDict[str, tuple[machine.State, argo.Workflow]] = OrderedDict()
        self._last: tuple[machine.State, argo.Workflow] | None = None
        self._one = asyncio.Lock()

    def forget(self, uid: str) -> None:
        """A finished workflow is gone, or runs again."""
        self._finished.pop(uid, None)
        self._small.pop(uid, None)

    def let_go(self) -> None:
        """Keep the last large document no longer."""
        self._last = None

    def finished(self, uid: str) -> argo.Workflow | None:
        """Return the document of a finished workflow, if it is kept."""
        if uid in self._finished:
            self._finished.move_to_end(uid)
        return self._finished.get(uid)

    def at_once(self, state: machine.State) -> argo.Workflow | None:
        """Return the document of a small workflow, as `of`; None: it is a larger one's."""
        return self._of_small(state) if len(state.nodes) <= SMALL else None

    async def of(self, state: machine.State) -> argo.Workflow:
        """Return a workflow's document: the same one as long as the state is the same."""
        if len(state.nodes) <= SMALL:
            return self._of_small(state)
        if len(state.nodes) <= LARGE:
            return self._made(state)
        async with self._one:
            if self._last is None or self._last[0] is not state:
                self._last = (state, await asyncio.to_thread(self._made, state))
            return self._last[1]

    def _of_small(self, state: machine.State) -> argo.Workflow:
        uid = state.program.metadata.uid or ""
        known = self._small.get(uid)
        if known is not None and known[0] is state:
            return known[1]
        found = self._made(state)
        self._small[uid] = (state, found)
        if known is not None:
            self._small.move_to_end(uid)
        elif len(self._small) > KEPT_DOCUMENTS:
            self._small.popitem(last=False)
        return found

    async def of_stored(self, uid: str, stored: StoredRun) -> argo.Workflow:
        """Return the document of a workflow that does not run."""
        if len(stored.nodes) <= LARGE:
            found = self._made(_restored(stored))
        else:
            async with self._one:
                self._last = None
                found = await asyncio.to_thread(lambda: self._made(_restored(stored)))
        if len(stored.nodes) <= KEPT_NODES:
            self._finished[uid] = found
            while len(self._finished) > KEPT_DOCUMENTS:
                self._finished.popitem(last=False)
        return found

    def _made(self, state: machine.State) -> argo.Workflow:
        return machine.workflow_document(state, self._now(), self._host)


def _restored(stored: StoredRun) -> machine.State:
    return machine.restore(stored.header, [body for _, body in stored.nodes])
