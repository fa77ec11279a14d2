"""Finished workflows that are deleted by themselves: `ttlStrategy`."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection

from jitflow.engine.tasks import Owner
from jitflow.model import argo
from jitflow.model.problems import Refused
from jitflow.ports.clock import Clock
from jitflow.ports.store import StateStore

EXPIRIES = "expiry"
"""Kind of the store's documents that say when a finished run is deleted."""

Delete = Callable[[str], Awaitable[None]]


class Janitor:
    """Deletes finished workflows when their time is over. When that is, is kept in the store."""

    def __init__(self, store: StateStore, clock: Clock, owner: Owner, delete: Delete) -> None:
        """Delete with `delete(uid)`."""
        self._store = store
        self._clock = clock
        self._owner = owner
        self._delete = delete
        self._waiting: dict[str, asyncio.TimerHandle] = {}

    async def open(self, unfinished: Collection[str]) -> None:
        """Go on after a restart. `unfinished`: runs whose end was not stored any more."""
        for uid, body in await self._store.items(EXPIRIES):
            if uid not in unfinished:
                self._wait(uid, float(body))

    async def remember(self, uid: str, spec: argo.WorkflowSpec, phase: str, finished_at: float) -> None:
        """Take note of a workflow that is about to be finished; before its end is stored, so that it is not forgotten."""
        lasts_s = kept_s(spec.ttl_strategy, phase)
        if lasts_s is None:
            return
        due = finished_at + lasts_s
        await self._store.put(EXPIRIES, [(uid, str(due).encode())])
        self._wait(uid, due)

    def forget(self, uid: str) -> None:
        """A workflow runs again, or is gone."""
        handle = self._waiting.pop(uid, None)
        if handle is not None:
            handle.cancel()
            self._owner.spawn(self._drop(uid), f"forget the time to live of {uid}")

    def close(self) -> None:
        """Delete nothing any more."""
        for handle in self._waiting.values():
            handle.cancel()
        self._waiting.clear()

    def _wait(self, uid: str, due: float) -> None:
        wait_s = max(0.0, due - self._clock.now())
        self._waiting[uid] = asyncio.get_running_loop().call_later(wait_s, self._due, uid)

    def _due(self, uid: str) -> None:
        self._waiting.pop(uid, None)
        self._owner.spawn(self._remove(uid), f"delete {uid}, its time to live is over")

    async def _drop(self, uid: str) -> None:
        await self._store.put(EXPIRIES, [(uid, None)])

    async def _remove(self, uid: str) -> None:
        with contextlib.suppress(Refused):  # somebody was faster
            await self._delete(uid)
        await self._drop(uid)


def kept_s(strategy: argo.TTLStrategy | None, phase: str) -> float | None:
    """Return how long a finished workflow is kept, None: until somebody deletes it.

    What is said for success or failure goes before what is said for completion; an Error is no failure (Argo's `gccontroller`).
    """
    if strategy is None:
        return None
    if phase == "Succeeded" and strategy.seconds_after_success is not None:
        return float(strategy.seconds_after_success)
    if phase == "Failed" and strategy.seconds_after_failure is not None:
        return float(strategy.seconds_after_failure)
    return None if strategy.seconds_after_completion is None else float(strategy.seconds_after_completion)
