"""What a store needs of the rules about whom the server may ask for others."""

import ssl
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx

_PORTS = {"http": 80, "https": 443}


class Guard(Protocol):
    """Knows which hosts may be asked, and at which addresses."""

    async def resolve(self, address: str) -> Sequence[IPv4Address | IPv6Address]:
        """Return the addresses of a host (`host` or `host:port`); none if they cannot be found out.

        Raises:
            Refused: it may not be asked.
        """
        ...

    def transport(self, verify: ssl.SSLContext) -> httpx.AsyncBaseTransport:
        """Return what connects to the very addresses that were checked."""
        ...


def pinned(guard: Guard, verify: ssl.SSLContext) -> httpx.AsyncBaseTransport | None:
    """Return what a client connects with; None where a proxy connects: then the addresses are the proxy's matter."""
    proxies = getproxies()
    return None if proxies.keys() & {"http", "https", "all"} else guard.transport(verify)


def pinning(url: str, addresses: Sequence[IPv4Address | IPv6Address]) -> list[str]:
    """Return git's options that let it connect to these addresses of a URL's host only, whatever its name leads to later."""
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme)
    if port is None or not parts.hostname or not addresses:
        return []
    shown = ",".join(f"[{one}]" if one.version == 6 else str(one) for one in addresses)
    return ["-c", f"http.curloptResolve={parts.hostname}:{port}:{shown}"]
