"""Reads one range of an object through rclone, in a thread: blocking, and ended from outside by `stop`."""

import socket
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from threading import Lock

from jitflow.ports.errors import Corrupt, PortError, Stalled, Unreachable
from jitflow.storage.endpoints import Endpoint, handshake

BUFFER_BYTES = 2**18

Take = Callable[[memoryview], bool]
"""Takes bytes; False: no more are wanted."""


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
        except (OSError, HTTPException) as error:
            if not self._stopped:
                raise Unreachable(f"{subject}: the stream broke ({type(error).__name__}); read it again") from error

    def _read(self, link: socket.socket, take: Take, fail: Callable[[int, bytes], PortError]) -> None:
        answer = HTTPResponse(link, method="GET")
        with answer:
            answer.begin()
            if answer.status == 200:
                raise WholeObject
            if answer.status != 206:
                raise fail(answer.status, answer.read(2**16))
            if answer.length != self._size:
                raise Corrupt(f"{answer.length} bytes are given instead of the {self._size} asked for")
            left = self._size
            while left:
                # What is there, and not what fills a buffer: who watches the link counts every byte when it comes.
                chunk = answer.read1(min(BUFFER_BYTES, left))
                if not chunk:
                    raise ConnectionResetError("the stream ended early")
                left -= len(chunk)
                if not take(memoryview(chunk)):
                    return
