"""Who holds which lock, over all workflows: mutexes and semaphores, taken all together or not at all."""

from collections.abc import Callable, Iterator

from msgspec import Struct

from jitflow.model.runs import Lock

Holder = tuple[str, str]
"""A run's uid and a node's id; the id is empty for the workflow itself."""


class MissingLimit(LookupError):
    """A semaphore whose limit is nowhere to be found; the message says where it was looked for."""


class Request(Struct, frozen=True, kw_only=True):
    """Locks that are wanted. The higher priority comes first, then the older workflow, then the older request."""

    holder: Holder
    locks: tuple[Lock, ...]
    priority: int = 0
    created_at: float = 0.0
    order: int = 0

    @property
    def rank(self) -> tuple[int, float, int]:
        """The place in the queue: the smallest is first."""
        return (-self.priority, self.created_at, self.order)


class LockTable:
    """The locks. It knows no time and waits for nobody: after each change `serve` says who may go on."""

    def __init__(self, limit: Callable[[Lock], int]) -> None:
        """Ask `limit` how many may hold a lock; it may raise `MissingLimit`."""
        self._limit = limit
        self._held: dict[str, set[Holder]] = {}
        self._locks: dict[Holder, tuple[Lock, ...]] = {}
        self._waiting: dict[Holder, Request] = {}
        self._told: dict[Holder, str] = {}
        self._order = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def holders(self, waiter: Holder) -> list[Holder]:
        """Return who holds what a waiting one wants."""
        request = self._waiting.get(waiter)
        wanted = request.locks if request is not None else ()
        return sorted({holder for lock in wanted for holder in self._held.get(lock.name, set())} - {waiter})

    def adopt(self, holder: Holder, locks: tuple[Lock, ...]) -> None:
        """Let a holder keep what it held before a restart, whatever the limits say now."""
        self._locks[holder] = locks
        for lock in locks:
            self._held.setdefault(lock.name, set()).add(holder)

    def ask(self, holder: Holder, locks: tuple[Lock, ...], *, priority: int, created_at: float) -> None:
        """Wait for locks; one that holds them already is told again by `serve`."""
        self._order += 1
        self._told.pop(holder, None)
        self._waiting[holder] = Request(holder=holder, locks=locks, priority=priority, created_at=created_at, order=self._order)

    def release(self, holder: Holder) -> None:
        """Give back what a holder has, or take it out of the queue."""
        self._waiting.pop(holder, None)
        self._told.pop(holder, None)
        for lock in self._locks.pop(holder, ()):
            holders = self._held[lock.name]
            holders.discard(holder)
            if not holders:
                del self._held[lock.name]

    def serve(self) -> Iterator[tuple[Request, str, bool]]:
        """Yield each request with a message: granted (empty, True), waiting (why, True) or impossible (why, False).

        One that waits on is named again only when its message is another one.

        A request passes by those before it only where they want none of its locks. What is granted or impossible leaves the
        queue.
        """
        taken: set[str] = set()
        for request in sorted(self._waiting.values(), key=lambda it: it.rank):
            try:
                message = self._obstacle(request, taken)
            except MissingLimit as error:
                del self._waiting[request.holder]
                yield request, str(error), False
                continue
            if message:
                taken.update(lock.name for lock in request.locks)
                if self._told.get(request.holder) == message:
                    continue
                self._told[request.holder] = message
            else:
                del self._waiting[request.holder]
                self.adopt(request.holder, request.locks)
            yield request, message, True

    def _obstacle(self, request: Request, taken: set[str]) -> str:
        for lock in request.locks:
            limit = self._limit(lock)
            others = self._held.get(lock.name, set()) - {request.holder}
            if len(others) >= limit or lock.name in taken:
                free = max(0, limit - len(others))
                return f"Waiting for {lock.name} lock. Lock status: {free}/{limit}"
        return ""
