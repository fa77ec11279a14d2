"""A slow link for programs that have no event loop of their own."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from jitflow.testing.slow_link import SlowLink


class LinkThread:
    """A slow link to a port of this machine, in a thread with an event loop of its own."""

    def __init__(self, port: int, *, rate_bps: float | None = None, rtt_s: float = 0.0) -> None:
        self._target = (port, rate_bps, rtt_s)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._link: SlowLink | None = None
        self._stop: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        assert self._link is not None
        return self._link.url

    def call(self, what: Callable[[SlowLink], None]) -> None:
        """Do something to the link, in its thread."""
        assert self._link is not None
        with contextlib.suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(what, self._link)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        port, rate_bps, rtt_s = self._target
        self._stop = asyncio.Event()
        async with SlowLink("127.0.0.1", port, rtt_s=rtt_s, rate_Bps=rate_bps) as self._link:
            self._ready.set()
            await self._stop.wait()
