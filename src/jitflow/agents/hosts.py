"""Whom the server asks on behalf of a manifest: http templates, and stores that only a manifest names."""

import asyncio
import ipaddress
import socket
from collections.abc import Collection
from fnmatch import fnmatch
from urllib.parse import urlsplit

from jitflow.model.problems import Refused


class HostRules:
    """The hosts that may be asked."""

    def __init__(self, allowed_hosts: Collection[str] = ()) -> None:
        """Allow hosts that match one of the patterns; without patterns all but link-local addresses."""
        self._allowed = tuple(allowed_hosts)

    async def check(self, address: str) -> None:
        """Refuse a host (`host` or `host:port`) that may not be asked.

        Raises:
            Refused: this one may not.
        """
        parts = urlsplit(f"//{address}")
        host = parts.hostname or ""
        if self._allowed:
            if not any(fnmatch(host, pattern) for pattern in self._allowed):
                raise Refused(
                    f"requests to {host!r} are not allowed; add it to `allowed_hosts` under [http] in the settings file"
                )
            return
        for ip in await _addresses(host, parts.port or 0):
            if ip.is_link_local:
                raise Refused(
                    f"{host!r} is a link-local address, where metadata services are; "
                    "name it in `allowed_hosts` under [http] in the settings file if it must be asked"
                )


async def _addresses(host: str, port: int) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Return the addresses of a host; none if they cannot be found out: the request itself will say so."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    ips = [ipaddress.ip_address(str(address[0]).partition("%")[0]) for *_, address in found]
    mapped = (ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None for ip in ips)
    return [inner or ip for ip, inner in zip(ips, mapped, strict=True)]
