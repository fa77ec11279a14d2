"""Places to run: at most so many pods at once on this machine, first come, first served."""

from collections import OrderedDict
from collections.abc import Callable

Take = Callable[[], None]


class Slots:
    """Counts the pods that run and lets the next one go when a place is free."""

    def __init__(self, limit: int) -> None:
        """Allow `limit` pods at once."""
        self._limit = limit
        self._holders: set[str] = set()
        self._queue: OrderedDict[str, Take] = OrderedDict()

    @property
    def held(self) -> int:
        """How many places are taken."""
        return len(self._holders)

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._queue)

    def hold(self, key: str) -> None:
        """Count a pod that runs already, even beyond the limit."""
        self._holders.add(key)

    def request(self, key: str, take: Take) -> None:
        """Call `take` when a place is free for `key`, at once if one is."""
        self._queue[key] = take
        self._advance()

    def free(self, key: str) -> None:
        """Give the place back, or leave the queue; harmless to repeat."""
        self._queue.pop(key, None)
        if key in self._holders:
            self._holders.discard(key)
            self._advance()

    def _advance(self) -> None:
        while self._queue and len(self._holders) < self._limit:
            key, take = self._queue.popitem(last=False)
            self._holders.add(key)
            take()
