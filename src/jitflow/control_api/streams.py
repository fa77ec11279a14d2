"""Endless answers: one JSON object a line, or server-sent events, as the client prefers."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from jitflow.control_api.errors import INTERNAL_MESSAGE, Code, failure, failure_of

KEEP_ALIVE_S = 15.0
EVENT_STREAM = "text/event-stream"

Emit = Callable[[Iterable[bytes]], Awaitable[None]]
"""Sends some results, each as JSON; returns when the client can take more."""
Pump = Callable[[Emit], Coroutine[None, None, None]]

_log = logging.getLogger("jitflow.control_api")


def prefers_events(request: Request) -> bool:
    """Return whether the client asked for server-sent events."""
    return EVENT_STREAM in request.headers.get("accept", "")


class Stream:
    """An answer whose results `pump` sends one by one; ends with it, with the client, or when the server closes."""

    def __init__(self, pump: Pump, *, events: bool, closing: asyncio.Event, keep_alive_s: float = KEEP_ALIVE_S) -> None:
        """Hold the parts; nothing begins before the answer is sent."""
        self._pump = pump
        self._events = events
        self._closing = closing
        self._keep_alive_s = keep_alive_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        media = EVENT_STREAM if self._events else "application/json"
        headers = [(b"content-type", media.encode()), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        out = _Out(send, events=self._events)
        await out.begin()
        async with asyncio.TaskGroup() as group:
            pumping = group.create_task(self._run(out))
            ends = {
                pumping,
                group.create_task(_until_disconnect(receive)),
                group.create_task(_wait(self._closing)),
            }
            alive = group.create_task(out.keep_alive(self._keep_alive_s)) if self._events else None
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in (*ends, *([alive] if alive else ())):
                task.cancel()
        await out.end()

    async def _run(self, out: "_Out") -> None:
        try:
            await self._pump(out.emit)
        except OSError:
            return  # the client went away while it was written to
        except Exception as error:
            known = failure_of(error)
            if known is None:
                _log.exception("a stream failed")
            await out.write(out.framed((known or failure(Code.INTERNAL, INTERNAL_MESSAGE)).frame()))


class _Out:
    """Frames results and writes them, one writer at a time."""

    def __init__(self, send: Send, *, events: bool) -> None:
        self._send = send
        self._events = events
        self._lock = asyncio.Lock()
        self._written = 0

    def framed(self, result: bytes) -> bytes:
        return b"data: " + result + b"\n\n" if self._events else result + b"\n"

    async def begin(self) -> None:
        """Let the headers go out before there is anything to say."""
        if self._events:
            await self.write(b":\n\n")

    async def emit(self, results: Iterable[bytes]) -> None:
        await self.write(b"".join(self.framed(b'{"result":' + result + b"}") for result in results))

    async def write(self, data: bytes) -> None:
        async with self._lock:
            self._written += 1
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def keep_alive(self, every_s: float) -> None:
        while True:
            before = self._written
            await asyncio.sleep(every_s)
            if self._written == before and not self._lock.locked():
                with contextlib.suppress(OSError):  # a client that went away is noticed elsewhere
                    await self.write(b":\n\n")

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
