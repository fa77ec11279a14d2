"""Short requests to one rclone: HTTP/1.1 as rclone speaks it, one answer at a time on each connection.

A general client costs a multiple of what such a request costs, and rclone is asked for every object.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

from jitflow.storage.endpoints import Endpoint

IDLE = 64
"""Connections that are kept for later requests."""
LONGEST_HEAD = 2**16
_CHUNKED, _LENGTH, _CLOSE = b"transfer-encoding: chunked", b"content-length:", b"connection: close"

Answer = tuple[int, bytes]
"""Status and body."""


class Lost(Exception):
    """The other side does not listen, broke off, or speaks something else; the message says which."""


class Exchange:
    """Asks one server; as many requests at once as are made. One event loop."""

    def __init__(self, endpoint: Endpoint, headers: Mapping[str, str]) -> None:
        """Send these headers with each request; nothing is connected before the first one."""
        self._endpoint = endpoint
        self._base = f"{endpoint.base}/".encode() if endpoint.base else b""
        self._head = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
        self._idle: list[_Connection] = []
        self._all: set[_Connection] = set()

    async def post(self, path: str, body: bytes) -> Answer:
        """Return the answer to a request, however long it takes; giving it up closes its connection.

        Raises:
            Lost: there is none.
        """
        connection = self._idle.pop() if self._idle else await self._connect()
        target = self._base + path.encode()
        request = b"POST /%b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (target, self._head, len(body), body)
        try:
            answer = await connection.ask(request)
        except BaseException:
            connection.abort()
            raise
        if connection.is_open and len(self._idle) < IDLE:
            self._idle.append(connection)
        else:
            connection.abort()
        return answer

    async def close(self) -> None:
        """Close all connections; what is still asked is lost."""
        self.hang_up()
        await asyncio.sleep(0)  # each tells whoever waits in the loop's next turn

    def hang_up(self) -> None:
        """Close all connections; what is asked is lost, later requests make new ones."""
        for connection in tuple(self._all):
            connection.abort()

    async def _connect(self) -> "_Connection":
        try:
            connection = await self._endpoint.connect(lambda: _Connection(self._forget))
        except (OSError, TimeoutError) as error:
            raise Lost(f"not connected: {type(error).__name__}") from error
        self._all.add(connection)
        return connection

    def _forget(self, connection: "_Connection") -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)


class _Connection(asyncio.Protocol):
    """One connection, on which at most one request is under way."""

    def __init__(self, gone: Callable[["_Connection"], None]) -> None:
        """Tell `gone` when it has ended."""
        self._gone = gone
        self._transport: asyncio.Transport | None = None
        self._asked: asyncio.Future[Answer] | None = None
        self._reading = Reading()
        self.is_open = True

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        """Send a request; the future ends with its answer, or as `Lost`."""
        self._asked = asyncio.get_running_loop().create_future()
        if self._transport is None or not self.is_open:
            self._end(Lost("the connection was closed"))
        else:
            self._transport.write(request)
        return self._asked

    def abort(self) -> None:
        """Hang up."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer."""
        try:
            answer = self._reading.feed(data)
        except ValueError as error:
            self._end(Lost(str(error)))
            self.abort()
            return
        if answer is None:
            return
        if self._reading.closes or self._asked is None or self._asked.done():
            self.is_open = False
        self._reading = Reading()
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self.is_open = False
        self._end(Lost("closed before it answered" if exc is None else f"broken off: {type(exc).__name__}"))
        self._gone(self)

    def _end(self, error: Lost) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(error)


class Head(NamedTuple):
    """What stands before the body of an answer.

    `size_bytes`: of the head itself; `length`: of the body, -1 if it comes in chunks; `closes`: nothing follows it.
    """

    status: int
    size_bytes: int
    length: int
    closes: bool


def head_of(data: bytes | bytearray) -> Head | None:
    """Return the head with which data begins, None while it has not come whole.

    Raises:
        ValueError: it is none.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > LONGEST_HEAD:
            raise ValueError("an answer without an end of its head")
        return None
    lines = bytes(data[:end]).lower().split(b"\r\n")
    first = lines[0].split(b" ")
    if not first[0].startswith(b"http/1.") or len(first) < 2:
        raise ValueError("no answer of HTTP/1")
    length = -1
    if _CHUNKED not in lines:
        lengths = [int(line[len(_LENGTH) :]) for line in lines if line.startswith(_LENGTH)]
        if len(lengths) != 1 or lengths[0] < 0:
            raise ValueError("an answer of unknown length")
        length = lengths[0]
    return Head(int(first[1]), end + 4, length, _CLOSE in lines)


class Reading:
    """An answer that comes in parts."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._data = bytearray()
        self._at = 0
        self._status = 0
        self._left = -1
        """Bytes of the body that have not come; -1: it comes in chunks."""
        self._body: list[bytes] = []
        self.closes = False
        """Whether the connection is of no use afterwards."""

    def feed(self, data: bytes) -> Answer | None:
        """Return the answer once all of it has come.

        Raises:
            ValueError: it is none, or more than one.
        """
        self._data += data
        if not self._status and not self._read_head():
            return None
        done = self._read_rest() if self._left >= 0 else self._read_chunks()
        if not done:
            return None
        if self._at < len(self._data):
            raise ValueError("more came than one answer")
        return self._status, b"".join(self._body)

    def _read_head(self) -> bool:
        head = head_of(self._data)
        if head is None:
            return False
        self._status, self._at, self._left, self.closes = head
        return True

    def _read_rest(self) -> bool:
        if len(self._data) - self._at < self._left:
            return False
        self._body.append(bytes(self._data[self._at : self._at + self._left]))
        self._at += self._left
        return True

    def _read_chunks(self) -> bool:
        """Read what has come in full; return whether that was the last one. Chunks may have trailers, which nobody sends."""
        while (end := self._data.find(b"\r\n", self._at)) >= 0:
            size = int(bytes(self._data[self._at : end]).partition(b";")[0], 16)
            behind = end + 2 + size
            if size < 0 or len(self._data) < behind + 2:
                return False
            if self._data[behind : behind + 2] != b"\r\n":
                raise ValueError("a chunk that does not end where it should")
            if not size:
                self._at = behind + 2
                return True
            self._body.append(bytes(self._data[end + 2 : behind]))
            self._at = behind + 2
        return False
