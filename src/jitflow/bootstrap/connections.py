"""Connections of the server: TLS, and clients that send their requests drop by drop."""

import asyncio
import importlib.util
import ssl
from typing import Any, Final

from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from jitflow.settings import ServerSettings, SettingsError

MAX_HEAD_BYTES: Final = 65_536
"""The longest head of a request: its first line and headers."""

LINGER_S: Final = 30.0
"""So long the rest of a body is taken, and dropped, that was answered before it had come."""

_MAX_HELD_BYTES: Final = 16_384
"""So much of an answer is held back until the end of the loop's turn, at most."""


class _Whole:
    """A transport that sends what is written at once as one: a short answer's head and body make one packet and one call.

    Anything but writing and closing goes through to the real transport.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        """Wrap a transport."""
        self._transport = transport
        self._pending: list[bytes] = []
        self._size = 0
        self._call_soon = asyncio.get_running_loop().call_soon
        # What is asked for with each request.
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def __getattr__(self, name: str) -> Any:
        """Return what the real transport has."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send the bytes with those that are written in the same turn of the loop."""
        if not self._pending:
            self._call_soon(self._flush)
        self._pending.append(data)
        self._size += len(data)
        if self._size >= _MAX_HELD_BYTES:  # the transport counts what a slow reader has not taken
            self._flush()

    def write_now(self, data: bytes) -> None:
        """Send the bytes behind those that wait: nothing belongs to them that is still to come."""
        if self._pending:
            self._flush()
        self._transport.write(data)

    def _flush(self) -> None:
        if self._pending:
            data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
            self._pending.clear()
            self._size = 0
            self._transport.write(data)

    def close(self) -> None:
        """Send what is left, then close."""
        self._flush()
        self._transport.close()


class _Timely:
    """Mixed into a protocol of uvicorn: a request's head must come in time and be of a sensible length."""

    head_timeout_s: float = 10.0
    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self: Any, transport: asyncio.Transport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(_Whole(transport))  # pyright: ignore[reportAttributeAccessIssue]
        self._await_head()

    def data_received(self: Any, data: bytes) -> None:
        """Take some bytes; until they are a whole head the clock runs."""
        super().data_received(data)  # pyright: ignore[reportAttributeAccessIssue]
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._stop_waiting()
            return
        if cycle is not None and cycle.more_body:
            # Answered before its body had come: many clients read no answer before they have sent all, and an end would lose it.
            if self._head_timer is None and not self.transport.is_closing():
                self._head_timer = asyncio.get_running_loop().call_later(LINGER_S, self._give_up)
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._give_up()
        elif self._head_timer is None and not self.transport.is_closing():
            self._await_head()

    def connection_lost(self: Any, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)  # pyright: ignore[reportAttributeAccessIssue]

    def _await_head(self: Any) -> None:
        self._head_timer = asyncio.get_running_loop().call_later(self.head_timeout_s, self._give_up)

    def _stop_waiting(self: Any) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self: Any) -> None:
        self._stop_waiting()
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()


class _Lasting:
    """Mixed into uvicorn's fast protocol: one timer for each connection sees whether it is idle, not one for each request."""

    _idle_since: float | None = None
    """When the last answer was sent, None while there is a request."""
    _idle_timer: asyncio.TimerHandle | None = None

    def connection_lost(self: Any, exc: Exception | None) -> None:
        """Look no longer."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        super().connection_lost(exc)  # pyright: ignore[reportAttributeAccessIssue]

    def _unset_keepalive_if_required(self: Any) -> None:
        """A request comes; the timer goes on, and sees that."""
        self._idle_since = None

    def on_response_complete(self: Any) -> None:
        """Take the next request: one that came already, or wait for one.

        As uvicorn does it, but for the timer.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        loop = self.loop
        self._idle_since = loop.time()
        if self._idle_timer is None:
            self._idle_timer = loop.call_later(self.timeout_keep_alive, self._look_whether_idle)

    def _look_whether_idle(self: Any) -> None:
        """Close a connection that has been idle for too long, or look again when it may have been."""
        since, now = self._idle_since, self.loop.time()
        if since is not None and now - since >= self.timeout_keep_alive:
            self._idle_timer = None
            self.timeout_keep_alive_handler()
            return
        left_s = self.timeout_keep_alive - (now - since if since is not None else 0.0)
        self._idle_timer = self.loop.call_later(left_s, self._look_whether_idle)


def protocol(server: ServerSettings) -> type[Any]:
    """Return the protocol that uvicorn speaks: the fastest that is installed, with limits."""
    bases: tuple[type[Any], ...] = (_Timely, H11Protocol)
    if importlib.util.find_spec("httptools") is not None:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol  # noqa: PLC0415 - only where it is installed

        from jitflow.bootstrap.heads import Heads, Recognising  # noqa: PLC0415

        bases = (Recognising, _Timely, _Lasting, HttpToolsProtocol)
        return type("TimelyProtocol", bases, {"head_timeout_s": server.head_timeout_s, "heads": Heads()})
    return type("TimelyProtocol", bases, {"head_timeout_s": server.head_timeout_s})


def application(app: ASGIApp) -> ASGIApp:
    """Return the application as it is served: by the fast protocol, short answers leave as one."""
    if importlib.util.find_spec("httptools") is None:
        return app
    from jitflow.bootstrap.whole import Served  # noqa: PLC0415 - only where it is installed

    return Served(app)


def tls(server: ServerSettings) -> ssl.SSLContext | None:
    """Return what the server encrypts with, None if it has no certificate.

    Raises:
        SettingsError: certificate or key cannot be used.
    """
    if not server.certificate:
        return None
    files = f"server.certificate {server.certificate}, server.key {server.key}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(server.certificate, server.key, password=_no_password)
    except ssl.SSLError as error:
        raise SettingsError(f"{files}: they are no PEM files that belong together: {error}") from error
    except OSError as error:
        raise SettingsError(f"{files}: {error.strerror}") from error
    return context


def _no_password() -> str:
    raise SettingsError("server.key: the key is encrypted; give one without a pass phrase, readable only by the server")
