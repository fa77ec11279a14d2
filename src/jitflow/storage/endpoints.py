"""Where an rclone listens: a Unix socket of this machine, or a host and port, with TLS or without."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import httpcore
from msgspec import Struct

CONNECT_S = 5.0
KEEPALIVE_S = 30.0
_PORTS = {"http": 80, "https": 443}

P = TypeVar("P", bound=asyncio.BaseProtocol)


class Endpoint(Struct, frozen=True, kw_only=True):
    """One address. `path`: of a Unix socket; else `host` and `port`, and what is trusted if TLS is spoken.

    `base`: what the paths of all requests begin with, without slashes at its ends.
    """

    path: str = ""
    host: str = ""
    port: int = 0
    base: str = ""
    tls: ssl.SSLContext | None = None

    @property
    def origin(self) -> str:
        """Return the URL to which paths are added."""
        if self.path:
            return "http://rclone"
        base = f"/{self.base}" if self.base else ""
        return f"{'https' if self.tls else 'http'}://{self.authority}{base}"

    @property
    def authority(self) -> str:
        """Return what the Host header says."""
        if self.path:
            return "rclone"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        """Return what people call it."""
        return f"unix://{self.path}" if self.path else self.origin

    async def connect(self, make: Callable[[], P]) -> P:
        """Return the protocol of a new connection.

        Raises:
            OSError: there is none; of these `ssl.SSLError` says that the other side is not believed.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_S):
            if self.path:
                return (await loop.create_unix_connection(make, self.path))[1]
            return (await loop.create_connection(make, self.host, self.port, ssl=self.tls))[1]

    def connect_blocking(self) -> socket.socket:
        """Return a new connection, its TLS ready to be agreed upon with `handshake`.

        Raises:
            OSError: there is none.
        """
        if self.path:
            link = socket.socket(socket.AF_UNIX)
            link.settimeout(CONNECT_S)
            try:
                link.connect(self.path)
            except OSError:
                link.close()
                raise
            return link
        link = socket.create_connection((self.host, self.port), CONNECT_S)
        if self.tls is None:
            return link
        return self.tls.wrap_socket(link, server_hostname=self.host, do_handshake_on_connect=False)

    def pool(self) -> httpcore.AsyncConnectionPool:
        """Return what opens connections for streams."""
        if self.path:
            return httpcore.AsyncConnectionPool(uds=self.path, max_connections=None, keepalive_expiry=KEEPALIVE_S)
        return httpcore.AsyncConnectionPool(ssl_context=self.tls, max_connections=None, keepalive_expiry=KEEPALIVE_S)


def handshake(link: socket.socket) -> None:
    """Agree on TLS, where it is spoken. Blocking.

    Raises:
        OSError: the other side is not believed, or does not speak it.
    """
    if isinstance(link, ssl.SSLSocket):
        link.do_handshake()


def endpoint_of(url: str, ca: str = "") -> Endpoint:
    """Return what `http://…`, `https://…` or `unix:///PATH` means; `ca`: a PEM file of authorities to trust, empty: the system's.

    Raises:
        ValueError: it means nothing; the message says what to write. OSError: `ca` cannot be read.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix" and not parts.netloc and Path(parts.path).is_absolute():
        return Endpoint(path=parts.path)
    if parts.scheme not in _PORTS or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("write https://HOST:PORT, http://127.0.0.1:PORT or unix:///PATH")
    if parts.username is not None or parts.password is not None:
        raise ValueError("leave the user and the password out of it; they have settings of their own")
    tls = ssl.create_default_context(cafile=ca or None) if parts.scheme == "https" else None
    return Endpoint(host=parts.hostname, port=parts.port or _PORTS[parts.scheme], base=parts.path.strip("/"), tls=tls)
