"""Group commit on the event loop: what callers hand in while one batch is written becomes the next batch."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from jitflow.engine.tasks import Owner
from jitflow.ports.errors import Broken

J = TypeVar("J")

MAX_BATCH = 512
"""Changes in one transaction: bounds how long the first caller waits for the last one's work."""


class Ticket(Generic[J]):
    """A change and the caller that waits for its outcome: a result, or an error."""

    __slots__ = ("change", "future")

    def __init__(self, change: J) -> None:
        """Hold the change; must be called on the event loop."""
        self.change = change
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def settle(self, outcome: object) -> None:
        """Hand the outcome to the caller, if it still waits."""
        if self.future.done():
            return
        if isinstance(outcome, Exception):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


Write = Callable[[Sequence[Ticket[J]]], Awaitable[None]]
"""Writes a batch and settles its tickets; one that it leaves open has failed."""


class GroupWriter(Generic[J]):
    """Writes batch after batch, one at a time, changes in the order in which they came."""

    def __init__(self, write: Write[J], *, name: str, max_batch: int = MAX_BATCH) -> None:
        """Write with `write`."""
        self._write = write
        self._name = name
        self._max_batch = max_batch
        self._waiting: deque[Ticket[J]] = deque()
        self._writing = False
        self._owner = Owner(lambda _name, _error: None)  # what fails is told to those who wait for it

    async def submit(self, change: J) -> Any:
        """Return the outcome of a change. A caller that is cancelled disturbs nobody; its change may be made."""
        return await self._enqueue(change)

    async def submit_all(self, changes: Iterable[J]) -> None:
        """Hand changes in together, and return when all are made.

        Raises:
            Exception: that of the first one that failed.
        """
        outcomes = await asyncio.gather(*[self._enqueue(change) for change in changes], return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    def _enqueue(self, change: J) -> asyncio.Future[Any]:
        ticket = Ticket(change)
        self._waiting.append(ticket)
        if not self._writing:
            self._writing = True
            self._owner.spawn(self._drain(), self._name)
        return ticket.future

    async def _drain(self) -> None:
        batch: Sequence[Ticket[J]] = ()
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_batch))]
                await self._write(batch)
        except BaseException as error:
            failed = error if isinstance(error, Exception) else Broken("the state store is closed")
            for ticket in batch:
                ticket.settle(failed)
            raise
        finally:
            self._writing = False
            if self._waiting:
                self._writing = True
                self._owner.spawn(self._drain(), self._name)

    async def close(self, patience_s: float) -> None:
        """Finish what was handed in, but wait no longer than that for a database that does not answer."""
        try:
            async with asyncio.timeout(patience_s):
                await self._owner.settle()
        except TimeoutError:
            pass
        waiting, self._waiting = self._waiting, deque()
        for ticket in waiting:
            ticket.settle(Broken("the state store is closed"))
        await self._owner.close()
