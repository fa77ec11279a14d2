"""Requests whose heads have come before: they are known byte for byte, and not parsed again.

Programs ask the same server for the same again and again: only the body is another one each time, or not even that.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from starlette.types import ASGIApp, Message, Scope
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from jitflow.bootstrap.whole import MOST_BYTES, InOne, Served
from jitflow.control_api import Application
from jitflow.control_api.direct import DIRECT, SAME

MOST_HEADS: Final = 512
LONGEST_HEAD: Final = 2048
"""So many heads are known, none longer than that."""
_MOST_SEEN: Final = 8192
_END: Final = b"\r\n\r\n"
_OF_THE_HEAD: Final = ("type", "asgi", "http_version", "root_path", "method", "path", "raw_path", "query_string")
_NOT_KEPT: Final = frozenset({b"transfer-encoding", b"upgrade", b"expect", b"x-forwarded-for", b"x-forwarded-proto"})
"""Who sends one of these wants more of the server, or of what stands before the application, than that it reads on."""


class Head:
    """A head as it was parsed once. `length`: of the body. `same`: see `SAME`."""

    __slots__ = ("headers", "length", "same", "scope")

    def __init__(self, scope: Scope, length: int) -> None:
        """Keep what depends on nothing but the head."""
        self.scope = {name: scope[name] for name in _OF_THE_HEAD}
        self.headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        self.length = length
        self.same: dict[str, Any] = {}


class Heads:
    """The heads that have come at least twice. They hold what was shown to enter, as long as they are known: in memory only."""

    def __init__(self) -> None:
        """Know none."""
        self._known: dict[bytes, Head] = {}
        self._seen: set[int] = set()
        self.find: Callable[[bytes], Head | None] = self._known.get

    def learn(self, data: bytes, end: int, scope: Scope) -> None:
        """Take note of a whole request that was parsed: its head is `data` up to `end`, all else its body."""
        head = data[:end]
        mark = hash(head)
        if mark not in self._seen:  # most of what comes only once never comes again
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen.add(mark)
            return
        length = _length(head, scope)
        if length is None or length != len(data) - end:
            return
        if len(self._known) >= MOST_HEADS:
            self._known.clear()
        self._known[head] = Head(scope, length)


def _length(head: bytes, scope: Scope) -> int | None:
    """Return how long the body is of a request with this head, None if it is not to be known."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    lines = head.count(b"\r\n")
    if not (lines == len(headers) + 2 == head.count(b"\n") and head.count(b"\r") == lines):
        return None  # a line was folded, or ended in another way
    if scope["http_version"] != "1.1" or scope["method"] == "HEAD":
        return None
    lengths: list[bytes] = []
    for name, value in headers:
        if name in _NOT_KEPT or (name == b"connection" and value.lower() != b"keep-alive"):
            return None
        if name == b"content-length":
            lengths.append(value)
    if not lengths:
        return 0
    return int(lengths[0]) if len(lengths) == 1 and lengths[0].isdigit() and len(lengths[0]) <= 9 else None


class _Cycle(RequestResponseCycle):
    """One request with a known head, all of which is there, and its answer.

    It is what the application sends by, and the request's `Direct`. What uvicorn sets for each request and is the same for all of
    these is set once here.
    """

    access_log = False
    disconnected = False
    keep_alive = True
    waiting_for_100_continue = False
    more_body = False
    response_started = False
    response_complete = False
    chunked_encoding = None
    expected_content_length = 0
    _event: asyncio.Event | None = None
    _taken = False
    _by_messages: InOne | None = None
    task: asyncio.Task[None] | None = None

    def __init__(self, protocol: Any, scope: Scope, body: bytes) -> None:  # pyright: ignore[reportMissingSuperCall]
        self.scope = scope
        self.body = body  # pyright: ignore[reportAttributeAccessIssue] - uvicorn's grows
        self.transport = protocol.transport
        self.flow = protocol.flow
        self.logger = protocol.logger
        self.default_headers = protocol.server_state.default_headers
        self.on_response = protocol.on_response_complete
        self._tasks: set[asyncio.Task[None]] = protocol.tasks

    @property
    def message_event(self) -> asyncio.Event:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What is set when there is something to receive; few ask."""
        if self._event is None:
            self._event = asyncio.Event()
            if not self._taken:
                self._event.set()
        return self._event

    async def run(self, app: Any) -> None:
        """Let the application answer; whatever else becomes of it, uvicorn deals with."""
        try:
            await app(self.scope, self.receive, self)
            if not (self.response_complete or self.disconnected):
                await self.run_asgi(_returned)
        except BaseException as error:
            await self.run_asgi(_raised(error))
        finally:
            self.on_response = _nothing
            if self.task is not None:
                self._tasks.discard(self.task)

    async def __call__(self, message: Message) -> None:
        """Send a message."""
        if self._by_messages is None:
            send: Any = self.send
            self._by_messages = InOne(self, send)
        await self._by_messages(message)

    def take(self) -> bytes | None:
        """Take the body (see `Direct`)."""
        if self._taken or self.disconnected or self.response_complete:
            return None
        self._taken = True
        if self._event is not None:
            self._event.clear()
        body, self.body = self.body, b""
        return body

    def takes(self, size_bytes: int) -> bool:
        """Return whether an answer can be sent at once (see `Direct`)."""
        if self._by_messages is not None:
            return self._by_messages.takes(size_bytes)
        return not (
            self.flow.write_paused
            or self.disconnected
            or not self.keep_alive
            or self.response_started
            or self.default_headers
            or size_bytes > MOST_BYTES
        )

    def write(self, head: bytes, body: bytes) -> None:
        """Send an answer (see `Direct`)."""
        self.response_started = self.response_complete = True
        self.transport.write_now(head + body)
        if self._event is not None:
            self._event.set()
        self.on_response()


async def _returned(scope: Any, receive: Any, send: Any) -> None:
    """Stand for an application that has returned, for uvicorn to find what it has not done."""


def _raised(error: BaseException) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise error

    return app


def _nothing() -> None:
    pass


class Recognising:
    """Mixed into uvicorn's fast protocol, before all else: whole requests with known heads go past the parser."""

    heads: Heads
    _inner: ASGIApp | None = None
    """The application behind what looks at heads; None: requests have to go through that."""
    _between = True
    """Whether the parser has taken whole requests, and nothing of the next one."""
    _requests = 0

    def __init__(self: Any, config: Any, *args: Any, **more: Any) -> None:
        """Serve as the configuration says."""
        super().__init__(config, *args, **more)  # pyright: ignore[reportCallIssue]
        plain = not self.access_log and config.limit_concurrency is None and not config.reset_contextvars
        self._inner = _behind(config.loaded_app) if plain else None

    def data_received(self: Any, data: bytes) -> None:
        """Take some bytes."""
        cycle = self.cycle
        if self._inner is None or not self._between or not (cycle is None or (cycle.response_complete and cycle.keep_alive)):
            super().data_received(data)  # pyright: ignore[reportAttributeAccessIssue]
            return
        end = data.find(_END, 0, LONGEST_HEAD) + len(_END)
        head = self.heads.find(data[:end])
        if head is not None and len(data) - end == head.length:
            self._recognised(head, data[end:])
            return
        before = self._requests
        super().data_received(data)  # pyright: ignore[reportAttributeAccessIssue]
        if self._between and self._requests == before + 1 and end >= len(_END):
            self.heads.learn(data, end, self.scope)

    def on_message_begin(self: Any) -> None:
        """Parse a request."""
        self._between = False
        self._requests += 1
        super().on_message_begin()  # pyright: ignore[reportAttributeAccessIssue]

    def on_message_complete(self: Any) -> None:
        """A request has been parsed; one after which something else than HTTP follows, never."""
        self._between = not self.parser.should_upgrade()
        super().on_message_complete()  # pyright: ignore[reportAttributeAccessIssue]

    def _recognised(self: Any, head: Head, body: bytes) -> None:
        """Do what uvicorn does for a request when its head has been parsed and its body has come."""
        self._idle_since = None  # see `_Lasting`
        if self._head_timer is not None or self._head_bytes:
            self._stop_waiting()
        scope = {
            **head.scope,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "headers": head.headers.copy(),
            "state": self.app_state.copy(),
            SAME: head.same,
        }
        cycle = self.cycle = _Cycle(self, scope, body)
        scope[DIRECT] = cycle
        cycle.task = task = asyncio.Task(cycle.run(self._inner), loop=self.loop)
        self.tasks.add(task)


def _behind(app: Any) -> ASGIApp | None:
    """Return the application as `in_one` got it, if nothing but who reads the headers of proxies stands before that."""
    if isinstance(app, ProxyHeadersMiddleware):
        app = app.app
    if not isinstance(app, Served):
        return None
    return app.app.entry if isinstance(app.app, Application) else app.app
