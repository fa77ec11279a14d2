"""Documents on their way to the store: off the critical path, in order, many in one transaction."""

import asyncio
from collections.abc import Callable

from jitflow.ports.store import StateStore

Body = bytes | None | Callable[[], bytes]

AT_ONCE, EVERY_S = 8, 0.008
"""So many transactions follow each other at once; then one begins every so many seconds, and what is put meanwhile shares it."""


class Journal:
    """Writes documents behind the caller's back; `durable` waits until all that were put before are in the store.

    Documents of one kind become durable in the order in which they were put; of several writes to one key the last one stands.
    """

    def __init__(self, store: StateStore) -> None:
        """Write to this store; `run` must run somewhere."""
        self._store = store
        self._waiting: dict[str, dict[str, Body]] = {}
        self._wake = asyncio.Event()
        self._put = 0
        self._written = 0
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._error: BaseException | None = None
        self._free = float(AT_ONCE)
        self._counted_at = 0.0

    def put(self, kind: str, key: str, body: Body) -> None:
        """Queue a document, None to delete it; one that changes often is made when it is written."""
        waiting = self._waiting.get(kind)
        if waiting is None:
            waiting = self._waiting[kind] = {}
            self._wake.set()
        waiting[key] = body
        self._put += 1

    async def durable(self) -> None:
        """Return when everything put so far is durable.

        Raises:
            PortError: the store failed; nothing is written any more.
        """
        if self._error is not None:
            raise self._error
        if self._written == self._put:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((self._put, future))
        await future

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            await self._pause()
            await self.flush()

    async def _pause(self) -> None:
        """Wait, where many transactions were made a moment ago: each costs more than what is in it."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._free = min(float(AT_ONCE), self._free + (now - self._counted_at) / EVERY_S) - 1
        self._counted_at = now
        if self._free < 0:
            await asyncio.sleep(-self._free * EVERY_S)

    async def flush(self) -> None:
        """Write what is queued."""
        self._wake.clear()
        batch, self._waiting = self._waiting, {}
        reached = self._put
        try:
            if batch:
                await self._store.put_all({kind: _made(documents) for kind, documents in batch.items()})
        except asyncio.CancelledError:
            self._restore(batch)
            raise
        except Exception as error:
            self._error = error
            self._tell(self._put, error)
            raise
        self._written = reached
        self._tell(reached, None)

    def _restore(self, batch: dict[str, dict[str, Body]]) -> None:
        """Put an interrupted batch back below what was queued since: writing a document twice is harmless."""
        for kind, documents in batch.items():
            self._waiting[kind] = documents | self._waiting.get(kind, {})
        self._wake.set()

    def _tell(self, reached: int, error: BaseException | None) -> None:
        rest: list[tuple[int, asyncio.Future[None]]] = []
        for mark, future in self._waiters:
            if mark > reached:
                rest.append((mark, future))
            elif not future.done():
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)
        self._waiters = rest


def _made(documents: dict[str, Body]) -> list[tuple[str, bytes | None]]:
    return [(key, body() if callable(body) else body) for key, body in documents.items()]
