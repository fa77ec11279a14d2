"""Answers that are known as a whole leave as one, with heads that are put together of known lines.

uvicorn looks each line of each head through for what no header may hold, and writes head and body apart; most of our heads have
the same lines.
"""

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle

from jitflow.control_api.direct import DIRECT

MOST_BYTES = 64 * 1024
"""Longer bodies are not copied once more."""
_KNOWN_LINES = 1024
_OF_CONNECTIONS = frozenset({b"connection", b"transfer-encoding"})
_OF_EACH = frozenset({b"x-request-id", b"etag", b"last-modified", b"location", b"content-disposition", b"content-range"})


class Served:
    """An application whose answers are sent as one where uvicorn's fast protocol serves it; elsewhere it is as it was."""

    def __init__(self, app: ASGIApp) -> None:
        """Serve an application."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        cycle = getattr(send, "__self__", None)
        if isinstance(cycle, RequestResponseCycle) and not cycle.access_log and scope["method"] != "HEAD":
            scope[DIRECT] = send = InOne(cycle, send)
        await self.app(scope, receive, send)


class InOne:
    """Holds the head of an answer back that tells its length, until its body comes; all else goes through.

    For who knows of it, it is the request's `Direct`: no messages then.
    """

    __slots__ = ("_cycle", "_head", "_send")

    def __init__(self, cycle: RequestResponseCycle, send: Send) -> None:
        """Send an answer of a request by uvicorn's own `send`."""
        self._cycle = cycle
        self._send = send
        self._head: Message | None = None

    async def __call__(self, message: Message) -> None:
        """Send a message."""
        head, self._head = self._head, None
        if head is None and _is_plain(message):
            self._head = message
        elif head is None:
            await self._send(message)
        elif self._is_whole(head, message):
            self._write(head, message.get("body", b""))
        else:
            await self._send(head)
            await self._send(message)

    def take(self) -> bytes | None:
        """Do what uvicorn's own `receive` does, if the rest of the body is there (see `Direct`)."""
        cycle = self._cycle
        if cycle.more_body or cycle.waiting_for_100_continue or cycle.disconnected or cycle.response_complete:
            return None
        cycle.flow.resume_reading()
        cycle.message_event.clear()
        body, cycle.body = bytes(cycle.body), bytearray()
        return body

    def takes(self, size_bytes: int) -> bool:
        """Return whether nothing keeps an answer from being sent at once (see `Direct`)."""
        cycle = self._cycle
        if cycle.flow.write_paused or cycle.disconnected or not cycle.keep_alive or size_bytes > MOST_BYTES:
            return False
        return not (cycle.response_started or cycle.default_headers or self._head)

    def _is_whole(self, head: Message, message: Message) -> bool:
        cycle = self._cycle
        if message.get("more_body", False) or cycle.flow.write_paused or cycle.disconnected or not cycle.keep_alive:
            return False
        return int(_length(head["headers"])) == len(message.get("body", b"")) <= MOST_BYTES

    def _write(self, head: Message, body: bytes) -> None:
        cycle = self._cycle
        lines = [STATUS_LINE[head["status"]], *[_line_of(header) for header in head["headers"]], b"\r\n"]
        if cycle.default_headers:
            lines[1:1] = [_line_of(header) for header in cycle.default_headers]
        self.write(b"".join(lines), body)

    def write(self, head: bytes, body: bytes) -> None:
        """Do what uvicorn's own `send` does for both messages (see `Direct`)."""
        cycle = self._cycle
        cycle.waiting_for_100_continue = False
        cycle.response_started = cycle.response_complete = True
        write = getattr(cycle.transport, "write_now", None) or cycle.transport.write
        write(head + body)
        cycle.message_event.set()
        cycle.on_response()


def _length(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return how long the body is, as the head says it; empty if it does not."""
    for name, value in headers:
        if name == b"content-length":
            return value
    return b""


def _is_plain(message: Message) -> bool:
    """Return whether a message is the head of an answer whose length is known, and says nothing of the connection."""
    if message["type"] != "http.response.start":
        return False
    names = [name for name, _ in message["headers"]]
    return b"content-length" in names and _OF_CONNECTIONS.isdisjoint(names)


_lines: dict[tuple[bytes, bytes], bytes] = {}


def _line_of(header: tuple[bytes, bytes]) -> bytes:
    """Return a line of a head; the first ones that are seen are kept, those that say something else each time are not."""
    found = _lines.get(header)
    if found is None:
        found = _line(*header)
        if len(_lines) < _KNOWN_LINES and header[0] not in _OF_EACH:
            _lines[header] = found
    return found


def _line(name: bytes, value: bytes) -> bytes:
    if HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
        raise RuntimeError(f"the header {name[:80]!r} cannot be sent")
    return b"%s: %s\r\n" % (name.lower(), value)
