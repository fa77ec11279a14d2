"""Whom the server asks on behalf of others: http templates, stores that only a manifest names, webhooks."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Collection, Iterable
from fnmatch import fnmatch
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from jitflow.model.problems import Refused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class HostRules:
    """The hosts that may be asked."""

    def __init__(
        self, allowed_hosts: Collection[str] = (), *, private_hosts: Collection[str] = ("*",), settings: str = "http"
    ) -> None:
        """Allow hosts that match one of the patterns, and no others; without patterns all but link-local addresses.

        Without patterns, hosts with private addresses (this machine, its networks) must match one of `private_hosts`.
        `settings`: the table of the settings file that says so.
        """
        self._allowed = tuple(allowed_hosts)
        self._private = tuple(private_hosts)
        self._settings = settings

    async def check(self, address: str) -> None:
        """Refuse a host (`host` or `host:port`) that may not be asked.

        Raises:
            Refused: this one may not.
        """
        await self.resolve(address)

    async def resolve(self, address: str) -> list[Address]:
        """Return the addresses of a host that may be asked; none if they cannot be found out.

        Raises:
            Refused: this one may not.
        """
        parts = urlsplit(f"//{address}")
        host = parts.hostname or ""
        self._check_name(host)
        found = await _addresses(host, parts.port or 0)
        self._check_addresses(host, found)
        return found

    def check_written(self, host: str) -> None:
        """Refuse a host of which it can be told without asking anybody that it may not be asked: what is written is an address.

        Raises:
            Refused: this one may not.
        """
        self._check_name(host)
        self._check_addresses(host, _written(host))

    def _check_name(self, host: str) -> None:
        if self._allowed and not any(fnmatch(host, pattern) for pattern in self._allowed):
            raise Refused(
                f"requests to {host!r} are not allowed; add it to `allowed_hosts` under [{self._settings}] in the settings file"
            )

    def _check_addresses(self, host: str, found: Iterable[Address]) -> None:
        if self._allowed:
            return
        private = any(fnmatch(host, pattern) for pattern in self._private)
        for ip in found:
            real = _meant(ip)
            if real.is_link_local:
                raise Refused(
                    f"{host!r} is a link-local address, where metadata services are; "
                    f"name it in `allowed_hosts` under [{self._settings}] in the settings file if it must be asked"
                )
            if not private and not _is_public(real):
                raise Refused(
                    f"{host!r} has a private address ({real}), which this server does not ask for others; "
                    f"name it in `private_hosts` under [{self._settings}] in the settings file if it may be asked"
                )

    def transport(self, verify: ssl.SSLContext) -> "CheckedTransport":
        """Return what connects to the very addresses that these rules allow."""
        return CheckedTransport(self, verify=verify)


class CheckedTransport(httpx.AsyncHTTPTransport):
    """Connects to the very address that was checked: a name that answers differently the second time gains nothing."""

    def __init__(self, rules: HostRules, **options: Any) -> None:
        """Ask only whom the rules allow; `options` are those of httpx's transport."""
        super().__init__(**options)
        self._rules = rules

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; each redirect comes here again.

        Raises:
            Refused: its host may not be asked.
        """
        url = request.url
        addresses = await self._rules.resolve(url.netloc.decode("ascii"))
        error: httpx.ConnectError | httpx.ConnectTimeout | None = None
        for address in addresses:
            extensions = {**request.extensions, "sni_hostname": url.host}
            there = httpx.Request(
                request.method,
                url.copy_with(host=str(address)),
                headers=request.headers,
                stream=request.stream,
                extensions=extensions,
            )
            try:
                return await super().handle_async_request(there)
            except (httpx.ConnectError, httpx.ConnectTimeout) as failed:
                error = failed
        raise error or httpx.ConnectError(f"the address of {url.host!r} cannot be found out")


def _written(host: str) -> list[Address]:
    """Return the addresses that a host is written as, in any of their forms; none for a name that must be looked up."""
    if host == "localhost" or host.endswith(".localhost"):
        return [ipaddress.IPv4Address("127.0.0.1")]
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return []
    return [ipaddress.ip_address(str(address[0]).partition("%")[0]) for *_, address in found]


async def _addresses(host: str, port: int) -> list[Address]:
    """Return the addresses of a host; none if they cannot be found out: the request itself will say so."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    ips = [ipaddress.ip_address(str(address[0]).partition("%")[0]) for *_, address in found]
    return list(dict.fromkeys(ips))


def _is_public(ip: Address) -> bool:
    site_local = isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local
    return ip.is_global and not ip.is_multicast and not site_local


def _meant(ip: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to, else the address itself."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip
