"""Reads one range of an object through rclone, in a thread: blocking, and ended from outside by `stop`."""

import socket
import ssl
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock

from jitflow.ports.errors import Corrupt, PortError, Stalled, Unreachable
from jitflow.storage.endpoints import Endpoint, handshake
from jitflow.storage.exchange import Head, head_of

BUFFER_BYTES, LEAST_BYTES = 2**18, 2**14
"""So many bytes are taken at a time."""
HEAD_BYTES = 2**16
WAIT_S = 0.05
"""No longer is waited for bytes while others are there."""

Take = Callable[[memoryview], bool]
"""Takes bytes, which are there until it returns; False: no more are wanted."""


class WholeObject(Exception):
    """The answer is not the range that was asked for."""


class Stream:
    """One request. `run` once."""

    def __init__(self, endpoint: Endpoint, request: bytes, *, size_bytes: int, timeout_s: float) -> None:
        """Prepare a request for `size_bytes`; nothing for `timeout_s` is a stall."""
        self._endpoint = endpoint
        self._request = request
        self._size = size_bytes
        self._timeout_s = timeout_s
        self._lock = Lock()
        self._socket: socket.socket | None = None
        self._stopped = False

    def stop(self) -> None:
        """Hang up; `run` ends soon."""
        with self._lock:
            self._stopped = True
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def run(self, take: Take, fail: Callable[[int, bytes], PortError], subject: str) -> None:
        """Read until everything has come, or no more is wanted.

        Raises:
            Stalled: nothing came. Unreachable: the stream broke. WholeObject: no range. What `fail` makes of a refusal.
        """
        try:
            with self._endpoint.connect_blocking() as link:
                link.settimeout(self._timeout_s)
                with self._lock:
                    if self._stopped:
                        return
                    self._socket = link
                try:
                    handshake(link)
                    link.sendall(self._request)
                    self._read(link, take, fail)
                finally:
                    with self._lock:
                        self._socket = None
        except TimeoutError as error:
            raise Stalled(f"{subject}: nothing moved for {self._timeout_s:g} s; it is tried again later") from error
        except OSError as error:
            if not self._stopped:
                raise Unreachable(f"{subject}: the stream broke ({type(error).__name__}); read it again") from error

    def _read(self, link: socket.socket, take: Take, fail: Callable[[int, bytes], PortError]) -> None:
        receive = _receiver(link, self._timeout_s)
        head, body = _begin(link)
        if head.status == 200:
            raise WholeObject
        if head.status != 206:
            raise fail(head.status, _rest(link, body))
        if head.length != self._size or len(body) > self._size:
            raise Corrupt(f"{head.length} bytes are given instead of the {self._size} asked for")
        left = self._size - len(body)
        wanted = not body or take(memoryview(body))
        buffer, pace = memoryview(bytearray(BUFFER_BYTES)), Pace()
        while left and wanted:
            most, began = min(pace.size_bytes, left), time.monotonic()
            count = receive(buffer[:most])
            if not count:
                raise ConnectionResetError("the stream ended early")
            left -= count
            wanted = take(buffer[:count])
            if count == pace.size_bytes:
                pace.took(time.monotonic() - began)


class Pace:
    """How many bytes to wait for at a time: few calls on a fast stream, and on a slow one none that takes long.

    Who watches the link counts bytes when they come.
    """

    def __init__(self) -> None:
        """Begin in the middle."""
        self.size_bytes = 2**16

    def took(self, wait_s: float) -> None:
        """So many bytes took so long."""
        if wait_s < WAIT_S / 2:
            self.size_bytes = min(2 * self.size_bytes, BUFFER_BYTES)
        elif wait_s > WAIT_S:
            self.size_bytes = max(self.size_bytes // 2, LEAST_BYTES)


def _begin(link: socket.socket) -> tuple[Head, bytes]:
    """Return the head of the answer, and what has come of its body."""
    said = b""
    while (head := _head_of(said)) is None:
        part = link.recv(HEAD_BYTES)
        if not part:
            raise ConnectionResetError("the stream ended before it began")
        said += part
    return head, said[head.size_bytes :]


def _head_of(said: bytes) -> Head | None:
    try:
        return head_of(said)
    except ValueError as error:
        raise ConnectionAbortedError(str(error)) from error


def _rest(link: socket.socket, body: bytes) -> bytes:
    """Return the body of a refusal, as much as is worth reading: the connection ends behind it."""
    while len(body) < HEAD_BYTES and (part := link.recv(HEAD_BYTES)):
        body += part
    return body


def _receiver(link: socket.socket, timeout_s: float) -> Callable[[memoryview], int]:
    """Return what fills a buffer, or as much of it as comes in time: in one call, where the system waits for all of it."""
    if isinstance(link, ssl.SSLSocket):
        return link.recv_into
    link.settimeout(None)
    seconds, rest = divmod(timeout_s, 1.0)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", int(seconds), int(rest * 1e6)))

    def receive(buffer: memoryview) -> int:
        try:
            return link.recv_into(buffer, len(buffer), socket.MSG_WAITALL)
        except BlockingIOError:
            raise TimeoutError from None

    return receive
