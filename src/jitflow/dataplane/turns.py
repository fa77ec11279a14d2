"""Whose turn it is to upload: a queue for each remote, in an order that may change while they wait."""

import asyncio
import heapq
from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Rank = tuple[int, ...]
"""The smaller comes first. The first number is the class; class 0 stands for what others wait for."""

_URGENT = 0
_SHARE_OF_TIME = 20
"""Ordering anew takes at most about one part in so many of the time."""


@dataclass(kw_only=True)
class _Waiter:
    key: Hashable
    rank: Callable[[], Rank]
    ready: asyncio.Future[None]


@dataclass(kw_only=True)
class _Queue:
    running: int = 0
    heap: list[tuple[Rank, int, _Waiter]] = field(default_factory=list[tuple[Rank, int, _Waiter]])
    stale: bool = False
    ordered_at: float = float("-inf")
    took_s: float = 0.0


class Turns:
    """At most `at_once` at a time for each remote, a quarter of them for what is urgent only: no long upload is in its way."""

    def __init__(self, at_once: int, now: Callable[[], float]) -> None:
        """`now` says how long things take."""
        self._at_once = at_once
        self._spare = max(1, at_once // 4) if at_once > 1 else 0
        self._now = now
        self._queues: dict[str, _Queue] = {}
        self._waiting: dict[Hashable, tuple[str, _Waiter]] = {}
        self._count = 0

    @asynccontextmanager
    async def turn(self, remote: str, key: Hashable, rank: Callable[[], Rank]) -> AsyncGenerator[None]:
        """Wait for a place at the remote. `rank` is asked for again when the order may have changed."""
        queue = self._queues.setdefault(remote, _Queue())
        waiter = _Waiter(key=key, rank=rank, ready=asyncio.get_running_loop().create_future())
        self._waiting[key] = (remote, waiter)
        self._push(queue, waiter)
        self._serve(queue)
        try:
            await waiter.ready
        except asyncio.CancelledError:
            if waiter.ready.done() and not waiter.ready.cancelled():
                queue.running -= 1  # its turn had just come
            self._waiting.pop(key, None)
            self._serve(queue)
            raise
        try:
            yield
        finally:
            queue.running -= 1
            self._serve(queue)

    def places(self) -> dict[Hashable, tuple[int, Rank]]:
        """Return for each that waits how many come before it at its remote, counted from 1, and its rank."""
        by_remote: dict[str, list[tuple[Rank, int, Hashable]]] = {}
        for count, (key, (remote, waiter)) in enumerate(self._waiting.items()):
            by_remote.setdefault(remote, []).append((waiter.rank(), count, key))
        return {
            key: (place, rank)
            for waiting in by_remote.values()
            for place, (rank, _, key) in enumerate(sorted(waiting, key=lambda entry: entry[:2]), 1)
        }

    def hurry(self, key: Hashable) -> None:
        """The rank of one that waits may be better now."""
        found = self._waiting.get(key)
        if found is not None:
            remote, waiter = found
            self._push(self._queues[remote], waiter)
            self._serve(self._queues[remote])

    def reorder(self) -> None:
        """The ranks of many may be others now."""
        for queue in self._queues.values():
            queue.stale = True
            self._serve(queue)

    def _push(self, queue: _Queue, waiter: _Waiter) -> None:
        self._count += 1
        heapq.heappush(queue.heap, (waiter.rank(), self._count, waiter))

    def _order(self, queue: _Queue) -> None:
        began = self._now()
        if began - queue.ordered_at < _SHARE_OF_TIME * queue.took_s:
            return
        waiting = {entry[2].key: entry for entry in queue.heap if not entry[2].ready.done()}
        queue.heap = [(waiter.rank(), count, waiter) for _, count, waiter in waiting.values()]
        heapq.heapify(queue.heap)
        queue.stale, queue.ordered_at = False, self._now()
        queue.took_s = queue.ordered_at - began

    def _serve(self, queue: _Queue) -> None:
        if queue.stale and queue.heap:
            self._order(queue)
        while queue.heap and queue.running < self._at_once:
            rank, _, waiter = queue.heap[0]
            if waiter.ready.done():
                heapq.heappop(queue.heap)
                continue
            if rank[0] != _URGENT and queue.running >= self._at_once - self._spare:
                return
            heapq.heappop(queue.heap)
            self._waiting.pop(waiter.key, None)
            queue.running += 1
            waiter.ready.set_result(None)
