"""Places to run: at most so many pods at once on this machine; the most urgent first, of equals who came first."""

import heapq
from collections.abc import Callable
from itertools import count

Take = Callable[[], None]


class Slots:
    """Counts the pods that run and lets the next one go when a place is free."""

    def __init__(self, limit: int) -> None:
        """Allow `limit` pods at once."""
        self._limit = limit
        self._holders: set[str] = set()
        self._queue: list[tuple[int, int, str]] = []
        """A heap; entries of those that gave up are left out when their turn comes."""
        self._waiting: dict[str, tuple[int, Take]] = {}
        self._numbers = count()
        self._paused = False

    @property
    def held(self) -> int:
        """How many places are taken."""
        return len(self._holders)

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    @property
    def limit(self) -> int:
        """How many places there are."""
        return self._limit

    def before(self, key: str) -> int:
        """Return how many wait for a place before a key that waits."""
        number, _ = self._waiting[key]
        order = sorted(entry for entry in self._queue if self._waiting.get(entry[2], (-1,))[0] == entry[1])
        return next((place for place, entry in enumerate(order) if entry[1] == number), 0)

    def waits(self, key: str) -> bool:
        """Return whether a key waits for a place."""
        return key in self._waiting

    def pause(self) -> None:
        """Give no place away any more."""
        self._paused = True

    def hold(self, key: str) -> None:
        """Count a pod that runs already, even beyond the limit."""
        self._holders.add(key)

    def request(self, key: str, take: Take, priority: int = 0) -> None:
        """Call `take` when a place is free for `key`, at once if one is."""
        number = next(self._numbers)
        self._waiting[key] = (number, take)
        heapq.heappush(self._queue, (-priority, number, key))
        self._advance()

    def free(self, key: str) -> None:
        """Give the place back, or leave the queue; harmless to repeat."""
        self._waiting.pop(key, None)
        if key in self._holders:
            self._holders.discard(key)
            self._advance()

    def _advance(self) -> None:
        while self._waiting and len(self._holders) < self._limit and not self._paused:
            _, number, key = heapq.heappop(self._queue)
            if self._waiting.get(key, (-1,))[0] != number:
                continue  # it gave up, or asked again
            _, take = self._waiting.pop(key)
            self._holders.add(key)
            take()
        if not self._waiting:
            self._queue.clear()
