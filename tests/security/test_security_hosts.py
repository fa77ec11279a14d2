"""Whom the server asks for others: private addresses in all their forms, names that lead to them, and redirects."""

import asyncio
import socket
from typing import Any

import httpx
import pytest
from tests.security.receiver import Receiver

from jitflow.agents import HostRules, WebhookSender
from jitflow.agents.hosts import CheckedTransport
from jitflow.bootstrap.dataparts import hosts_of
from jitflow.model.problems import Refused
from jitflow.settings import ServerSettings, Settings
from jitflow.settings._tree import HttpSettings

CLOSED = HostRules(private_hosts=())


def check(rules: HostRules, address: str) -> None:
    asyncio.run(rules.check(address))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.0.0.1:80", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", "LOCALHOST:8080", "0.0.0.0", "0",
        "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255", "240.0.0.1",
        "[::1]", "[::]", "[fe80::1]", "[fc00::1]", "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[64:ff9b::7f00:1]",
        "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "[ff02::1]", "[fec0::1]",
    ],
)  # fmt: skip
def test_private_addresses_are_refused_in_all_their_forms(address: str) -> None:
    with pytest.raises(Refused, match=r"private address|link-local"):
        check(CLOSED, address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8:443", "[2606:4700:4700::1111]", "[64:ff9b::808:808]"])
def test_public_addresses_may_be_asked(address: str) -> None:
    check(CLOSED, address)


def test_private_hosts_may_be_allowed_by_name() -> None:
    check(HostRules(private_hosts=["127.0.0.1", "*.lan"]), "127.0.0.1:1")
    with pytest.raises(Refused, match="private_hosts"):
        check(HostRules(private_hosts=["*.lan"]), "127.0.0.1:1")
    with pytest.raises(Refused, match="link-local"):
        check(HostRules(private_hosts=["*"]), "169.254.169.254")
    check(HostRules(["169.254.169.254"]), "169.254.169.254")
    with pytest.raises(Refused, match="allowed_hosts"):
        check(HostRules(["*.example.org"]), "127.0.0.1")


def test_a_server_for_others_asks_no_private_hosts() -> None:
    check(hosts_of(Settings()), "127.0.0.1")
    others = Settings(server=ServerSettings(host="0.0.0.0"))
    with pytest.raises(Refused):
        check(hosts_of(others), "127.0.0.1")
    allowed = Settings(server=ServerSettings(host="0.0.0.0"), http=HttpSettings(private_hosts=("127.0.0.1",)))
    check(hosts_of(allowed), "127.0.0.1")


class Rebinding(HostRules):
    """A name that leads to a harmless address when it is checked, and to another when it is connected to."""

    async def resolve(self, address: str) -> list[Any]:
        return await HostRules(private_hosts=["*"]).resolve("127.0.0.2")


def test_the_address_that_was_checked_is_the_one_that_is_connected_to() -> None:
    connected: list[Any] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        closed = asyncio.Event()

        async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connected.append(writer.get_extra_info("sockname"))
            writer.close()
            await writer.wait_closed()
            closed.set()

        server = await asyncio.start_server(accept, "127.0.0.2", 0)
        port = server.sockets[0].getsockname()[1]
        # Resolving the name itself, now, would lead to this machine's usual address, where nobody listens.
        assert (await loop.getaddrinfo("localhost", port, family=socket.AF_INET))[0][4][0] == "127.0.0.1"
        async with httpx.AsyncClient(transport=CheckedTransport(Rebinding()), timeout=0.5) as client:
            with pytest.raises(httpx.HTTPError):
                await client.get(f"http://localhost:{port}/")
        await closed.wait()
        server.close()
        await server.wait_closed()

    asyncio.run(scenario())
    assert [name[0] for name in connected] == ["127.0.0.2"]


def sent(url: str, rules: HostRules) -> int:
    async def run() -> int:
        sender = WebhookSender(rules, timeout_s=5)
        try:
            return (await sender.send(url, {"x-a": "b"}, b"{}")).status
        finally:
            await sender.close()

    return asyncio.run(run())


def test_redirects_are_not_followed() -> None:
    with Receiver() as target, Receiver() as receiver:
        receiver.status, receiver.headers = 307, {"location": target.url}
        assert sent(receiver.url, HostRules(private_hosts=["127.0.0.1"])) == 307
        assert len(receiver.got) == 1
        assert not target.got


def test_a_webhook_reaches_no_private_host() -> None:
    with Receiver() as receiver:
        for url in (
            receiver.url,
            receiver.url.replace("127.0.0.1", "localhost"),
            receiver.url.replace("127.0.0.1", "2130706433"),
        ):
            with pytest.raises(Refused, match="private address"):
                sent(url, CLOSED)
        assert not receiver.got
        with pytest.raises(OSError, match="cannot be found out"):
            sent("http://no-such-host.invalid/", CLOSED)


def test_headers_hold_no_lines_of_others() -> None:
    with Receiver() as receiver, pytest.raises((OSError, ValueError)):
        asyncio.run(
            WebhookSender(HostRules()).send(receiver.url, {"x-a": "b\r\nx-evil: 1"}, b"{}"),
        )
