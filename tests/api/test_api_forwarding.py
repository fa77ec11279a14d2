"""A server that stands by: what it hands on, for whom it vouches, and what becomes of requests when the leader ends."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from jitflow.control_api.forwarding import Forward

OWN, PEER = "the-token-of-this-home", "what-servers-show"
Serve = Callable[[str, asyncio.StreamWriter], Awaitable[None]]
"""Gets the head and body of a request, and answers."""


async def ok(asked: str, writer: asyncio.StreamWriter) -> None:
    body = asked.encode()
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))


async def dies(_asked: str, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def half(_asked: str, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: 100\r\n\r\nhalf")
    await writer.drain()
    writer.close()


async def half_stream(_asked: str, writer: asyncio.StreamWriter) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    writer.write(head + b"8\r\ndata: 1\n\r\n")
    await writer.drain()
    writer.close()


async def hangs(_asked: str, writer: asyncio.StreamWriter) -> None:
    await writer.drain()


class Cluster:
    """Leaders, of which one leads now, and the server that stands by."""

    def __init__(self, **options: Any) -> None:
        self.leader = ""
        self.own: Any = None
        self.forward = Forward(
            leader=lambda: self.leader, own=lambda: self.own, token=OWN, peer=PEER, **{"wait_s": 2.0, **options}
        )
        self.asked: list[str] = []
        self._writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def leads(self, serve: Serve) -> Any:
        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.append(writer)
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next((int(line[15:]) for line in head.lower().splitlines() if line.startswith("content-length:")), 0)
                asked = head + (await reader.readexactly(length)).decode()
                self.asked.append(asked)
                await serve(asked, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass

        server = await asyncio.start_server(take, "127.0.0.1", 0)
        self.leader = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield
        finally:
            self.leader = ""
            server.close()
            for writer in self._writers:
                writer.close()
            await asyncio.sleep(0)

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.forward, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:2746") as client:
            return await client.request(method, path, **more)


def play(scenario: Callable[[Cluster], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        cluster = Cluster(**options)
        try:
            await scenario(cluster)
        finally:
            await cluster.forward.close()

    asyncio.run(run())


def test_a_request_is_handed_on_as_it_is() -> None:
    async def scenario(cluster: Cluster) -> None:
        async with cluster.leads(ok):
            answer = await cluster.ask("POST", "/api/v1/x%2Fy?a=1&b=%20", content=b"body", headers={"x-more": "1"})
        assert answer.status_code == 200
        lines = answer.text.splitlines()
        assert lines[0] == "POST /api/v1/x%2Fy?a=1&b=%20 HTTP/1.1"
        assert lines[-1] == "body"
        assert "host: 127.0.0.1:2746" in answer.text.lower()
        assert "x-more: 1" in answer.text

    play(scenario)


@pytest.mark.parametrize(
    ("headers", "vouched"),
    [
        ({"authorization": f"Bearer {OWN}"}, True),
        ({"x-api-key": OWN}, True),
        ({"cookie": f"authorization=Bearer%20{OWN}"}, True),
        ({"cookie": f"authorization=Bearer%20{OWN}", "origin": "http://elsewhere.example"}, False),
        ({"authorization": "Bearer another"}, False),
        ({}, False),
    ],
)
def test_only_who_holds_the_token_of_this_home_is_vouched_for(headers: dict[str, str], vouched: bool) -> None:
    async def scenario(cluster: Cluster) -> None:
        async with cluster.leads(ok):
            said = (await cluster.ask("POST", "/", headers={**headers, "x-jitflow-server": "guess"})).text.lower()
        assert (f"authorization: bearer {PEER}" in said) is vouched
        assert said.count("x-jitflow-server:") == 1
        assert f"x-jitflow-server: {PEER}" in said, "what a client says of itself is not handed on"
        assert ("bearer another" in said) is (headers.get("authorization") == "Bearer another")

    play(scenario)


def test_a_name_that_is_not_its_own_is_refused() -> None:
    async def scenario(cluster: Cluster) -> None:
        async with cluster.leads(ok):
            assert (await cluster.ask("GET", "/", headers={"host": "evil.example"})).status_code == 403
            assert (await cluster.ask("GET", "/", headers={"host": "good.example"})).status_code == 200
        assert len(cluster.asked) == 1

    play(scenario, hosts=("good.example",))


def test_while_nobody_leads_requests_wait_and_are_then_told_so() -> None:
    async def scenario(cluster: Cluster) -> None:
        assert (await cluster.ask("GET", "/healthz")).status_code == 200
        answer = await cluster.ask("POST", "/", content=b"body")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert "nothing was done" in answer.text
        waiting = asyncio.create_task(cluster.ask("POST", "/", content=b"body"))  # noqa: TID251
        await asyncio.sleep(0.3)
        async with cluster.leads(ok):
            assert (await waiting).status_code == 200

    play(scenario)


@pytest.mark.parametrize("fails", [dies, hangs])
def test_what_only_reads_is_asked_of_the_next_leader_and_what_changes_is_not(fails: Serve) -> None:
    async def scenario(cluster: Cluster) -> None:
        for method, status in (("GET", 200), ("POST", 502)):
            cluster.asked.clear()
            async with cluster.leads(fails):
                asking = asyncio.create_task(cluster.ask(method, "/"))  # noqa: TID251
                while not cluster.asked:
                    await asyncio.sleep(0.02)
                async with cluster.leads(ok):
                    answer = await asking
            assert answer.status_code == status, answer.text
            assert len([one for one in cluster.asked if one.startswith("POST")]) == (1 if method == "POST" else 0)

    play(scenario)


def test_half_a_file_does_not_look_like_a_whole_one_but_a_stream_may_end() -> None:
    async def scenario(cluster: Cluster) -> None:
        async with cluster.leads(half_stream):
            assert (await cluster.ask("GET", "/")).text == "data: 1\n"
        async with cluster.leads(half):
            sent: list[Any] = []
            scope = {
                "type": "http",
                "method": "GET",
                "path": "/",
                "raw_path": b"/",
                "query_string": b"",
                "headers": [(b"host", b"localhost")],
            }

            async def receive() -> Any:
                await asyncio.sleep(60)

            async def send(message: Any) -> None:
                sent.append(message)

            await cluster.forward(scope, receive, send)
        assert b"".join(message.get("body", b"") for message in sent) == b"half"
        assert all(message.get("more_body") for message in sent[1:]), "the server cuts the connection then"

    play(scenario)


def test_once_it_leads_it_answers_by_itself_and_never_sends_a_request_round() -> None:
    async def own(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def scenario(cluster: Cluster) -> None:
        async with cluster.leads(ok):
            waiting = asyncio.create_task(cluster.ask("GET", "/", headers={"x-jitflow-server": PEER, "host": "x"}))  # noqa: TID251
            await asyncio.sleep(0.3)
            assert not cluster.asked, "another server believes that this one leads"
            cluster.own = own
            assert (await waiting).status_code == 204
            assert (await cluster.ask("GET", "/", headers={"host": "any"})).status_code == 204
        assert not cluster.asked

    play(scenario)
