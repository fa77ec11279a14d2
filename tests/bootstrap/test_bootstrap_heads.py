"""Requests whose heads have come before are answered as if they were parsed."""

import asyncio
import gc
import random
from typing import Any

import pytest
import uvicorn
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from jitflow.access import Gate, Identity, Limits, Role
from jitflow.bootstrap.connections import application, protocol
from jitflow.bootstrap.heads import LONGEST_HEAD, Heads
from jitflow.control_api.answers import Json
from jitflow.control_api.direct import SAME
from jitflow.control_api.requests import body_of
from jitflow.control_api.shell import Shell
from jitflow.model.problems import Refused
from jitflow.settings import ServerSettings

HEAD = "POST /a%20b?c=d HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer secret\r\n"


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 5000), "sockname": ("127.0.0.1", 8000)})
        self.sent = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Server:
    """What serves connections of one server; `learns`: whether it may know heads."""

    def __init__(self, app: ASGIApp, *, learns: bool = True) -> None:
        self.config = uvicorn.Config(
            application(app), http=protocol(ServerSettings()), ws="none", lifespan="off", log_config=None, access_log=False
        )
        self.config.load()
        self.kind: Any = self.config.http_protocol_class
        if not learns:
            self.kind.heads.learn = lambda *_: None
        self.state = ServerState()

    def connect(self) -> tuple[Any, Wire]:
        wire, connection = Wire(), self.kind(config=self.config, server_state=self.state, app_state={})
        connection.connection_made(wire)
        return connection, wire


async def sent(connection: Any, wire: Wire, data: bytes) -> bytes:
    """Send some bytes and return what comes of them."""
    before = len(wire.sent)
    if not wire.closed:
        connection.data_received(data)
    for _ in range(12):
        await asyncio.sleep(0)
    return wire.sent[before:]


def an_app(seen: list[Scope]) -> ASGIApp:
    """Return an application that tells what it was asked."""

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        body = await body_of(Request(scope, receive, send))
        known = {
            name: scope[name] for name in ("method", "path", "raw_path", "query_string", "headers", "client", "http_version")
        }
        await Json(repr((known, body)).encode())(scope, receive, send)

    return Shell(told, Gate("secret"), limits=Limits(body_bytes=20))


def a_request(more: str = "", body: str = "", head: str = HEAD) -> bytes:
    length = "" if "transfer-encoding" in more else f"content-length: {len(body)}\r\n"
    return f"{head}x-request-id: r\r\n{more}{length}\r\n{body}".encode()


def test_a_head_is_known_when_it_comes_again() -> None:
    async def scenario() -> None:
        seen: list[Scope] = []
        server = Server(an_app(seen))
        connection, wire = server.connect()
        answers = [await sent(connection, wire, a_request(body="12345")) for _ in range(2)]
        other, elsewhere = server.connect()
        answers += [await sent(other, elsewhere, a_request(body="12345")), await sent(connection, wire, a_request(body="54321"))]
        assert [SAME in scope for scope in seen] == [False, False, True, True]
        assert seen[2][SAME] is seen[3][SAME]
        assert answers[0] == answers[1] == answers[2] == answers[3].replace(b"54321", b"12345")
        assert b"HTTP/1.1 200 OK" in answers[0]
        assert not server.state.tasks
        assert server.state.total_requests == 4

    asyncio.run(scenario())


@pytest.mark.parametrize("learns", [True, False])
def test_a_request_that_is_over_is_freed_without_the_collector(*, learns: bool) -> None:
    async def scenario() -> None:
        seen: list[Scope] = []
        connection, wire = Server(an_app(seen), learns=learns).connect()
        await sent(connection, wire, a_request(body="12345"))
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                await sent(connection, wire, a_request(body="12345"))
            seen.clear()
            assert gc.collect() < 50
        finally:
            gc.enable()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "request_",
    [
        a_request("x-forwarded-for: 10.0.0.1\r\n"),
        a_request("transfer-encoding: chunked\r\n", "5\r\n12345\r\n0\r\n\r\n"),
        a_request("connection: close\r\n"),
        a_request("connection: upgrade\r\nupgrade: h2c\r\n"),
        a_request(f"x-long: {'x' * LONGEST_HEAD}\r\n"),
        a_request(head=HEAD.replace("1.1", "1.0")),
        a_request(head=HEAD.replace("POST", "HEAD")),
        a_request() * 2,
        a_request(body="1") + b"GET",
    ],
)
def test_what_asks_for_more_is_parsed_each_time(request_: bytes) -> None:
    async def answers(*, learns: bool) -> list[bytes]:
        seen: list[Scope] = []
        server = Server(an_app(seen), learns=learns)
        found: list[bytes] = []
        for _ in range(4):
            connection, wire = server.connect()
            found.append(await sent(connection, wire, request_))
        assert all(SAME not in scope for scope in seen)
        return found

    assert asyncio.run(answers(learns=True)) == asyncio.run(answers(learns=False))


@pytest.mark.parametrize("seed", range(40))
def test_however_requests_are_cut_the_answers_are_the_same(seed: int) -> None:
    """Whole requests, pieces and several at once in any order, over connections that others have taught the server heads by."""
    drawn = random.Random(seed)
    kinds = [
        a_request(body="12345"),
        a_request(body="123456"),
        a_request(),
        a_request(body="x" * 21),  # too long
        a_request(head=HEAD.replace("secret", "wrong")),
        a_request(head=HEAD.replace("POST", "GET")),
        a_request("transfer-encoding: chunked\r\n", "5\r\n12345\r\n0\r\n\r\n"),
        b"\r\n" + a_request(body="1"),
        a_request("expect: 100-continue\r\n", "12"),
        a_request("connection: close\r\n") if seed % 4 == 0 else a_request("x-a: b\r\n c\r\n"),
    ]
    wishes = [drawn.choice(kinds[:3]) if drawn.random() < 0.6 else drawn.choice(kinds) for _ in range(30)]
    pieces: list[bytes] = []
    for wish in wishes:
        if pieces and drawn.random() < 0.2:
            pieces[-1] += wish
        elif drawn.random() < 0.3:
            cut = drawn.randrange(1, len(wish))
            pieces += [wish[:cut], wish[cut:]]
        else:
            pieces.append(wish)

    async def answers(*, learns: bool) -> tuple[bytes, bool, bool]:
        seen: list[Scope] = []
        server = Server(an_app(seen), learns=learns)
        first, line = server.connect()
        for kind in kinds[:3] * 2:
            await sent(first, line, kind)
        connection, wire = server.connect()
        for piece in pieces:
            await sent(connection, wire, piece)
        await sent(*server.connect(), kinds[0])
        return wire.sent, wire.closed, SAME in seen[-1]

    learned, parsed = asyncio.run(answers(learns=True)), asyncio.run(answers(learns=False))
    assert learned[:2] == parsed[:2]
    assert (learned[2], parsed[2]) == (True, False)


def test_who_is_refused_later_is_refused_with_a_known_head() -> None:
    """A head says who sends it, but not for how long that holds."""

    class Tokens:
        valid = True

        def listen(self, listener: object) -> None: ...

        def identify(self, token: bytes) -> Identity | None:
            return Identity(subject=token.decode(), grants={"*": Role.VIEWER}) if self.valid else None

    tokens: Any = Tokens()

    async def scenario() -> None:
        async def fine(scope: Scope, receive: Receive, send: Send) -> None:
            await Json(b"{}")(scope, receive, send)

        connection, wire = Server(Shell(fine, Gate("other", tokens=tokens))).connect()
        for _ in range(4):
            assert (await sent(connection, wire, a_request())).startswith(b"HTTP/1.1 200")
        tokens.valid = False
        assert (await sent(connection, wire, a_request())).startswith(b"HTTP/1.1 401")

    asyncio.run(scenario())


def test_a_limit_of_requests_holds_for_known_heads() -> None:
    async def scenario() -> None:
        async def fine(scope: Scope, receive: Receive, send: Send) -> None:
            await Json(b"{}")(scope, receive, send)

        shell = Shell(fine, Gate("secret"), limits=Limits(requests_per_s=0.001, burst=4))
        connection, wire = Server(shell).connect()
        answers = [await sent(connection, wire, a_request()) for _ in range(6)]
        assert [answer[9:12] for answer in answers] == [b"200"] * 4 + [b"429"] * 2

    asyncio.run(scenario())


def test_an_application_that_takes_the_place_of_another_learns_for_itself() -> None:
    async def scenario() -> None:
        async def fine(scope: Scope, receive: Receive, send: Send) -> None:
            await Json(b"{}")(scope, receive, send)

        shells = [Shell(fine, Gate("secret")), Shell(fine, Gate("another"))]

        async def one(scope: Scope, receive: Receive, send: Send) -> None:
            await shells[0](scope, receive, send)

        connection, wire = Server(one).connect()
        for _ in range(4):
            assert (await sent(connection, wire, a_request())).startswith(b"HTTP/1.1 200")
        del shells[0]
        assert (await sent(connection, wire, a_request())).startswith(b"HTTP/1.1 401")

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", ["raises", "begins", "nothing"])
def test_what_an_application_leaves_undone_is_dealt_with_as_ever(kind: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if kind == "begins":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        if kind == "raises":
            raise Refused("no")

    async def answers(*, learns: bool) -> list[tuple[bytes, bool]]:
        server = Server(app, learns=learns)
        found: list[tuple[bytes, bool]] = []
        for _ in range(4):
            connection, wire = server.connect()
            found.append((await sent(connection, wire, a_request()), wire.closed))
        return found

    async def taught() -> list[tuple[bytes, bool]]:
        seen: list[Scope] = []
        server = Server(an_app(seen))
        connection, wire = server.connect()
        for _ in range(3):
            await sent(connection, wire, a_request())
        assert SAME in seen[-1]
        server.config.loaded_app.app.app = app  # type: ignore[union-attr]
        found: list[tuple[bytes, bool]] = []
        for _ in range(4):
            connection, wire = server.connect()
            found.append((await sent(connection, wire, a_request()), wire.closed))
        assert not server.state.tasks
        return found

    assert asyncio.run(taught()) == asyncio.run(answers(learns=False))


def test_who_goes_away_is_missed_by_who_waits_for_him() -> None:
    async def scenario() -> None:
        heard: list[str] = []

        async def waits(scope: Scope, receive: Receive, send: Send) -> None:
            heard.append("begun" if SAME in scope else "parsed")
            heard.extend([(await receive())["type"], (await receive())["type"]])

        server = Server(waits)
        for _ in range(3):
            heard.clear()
            connection, wire = server.connect()
            await sent(connection, wire, a_request(body="12"))
            connection.connection_lost(None)
            await asyncio.sleep(0.01)
        assert heard == ["begun", "http.request", "http.disconnect"]
        assert not server.state.tasks

    asyncio.run(scenario())


def test_a_server_that_stops_ends_the_connection_after_the_answer() -> None:
    async def scenario() -> None:
        go_on = asyncio.Event()

        async def waits(scope: Scope, receive: Receive, send: Send) -> None:
            if SAME in scope:
                await go_on.wait()
            await Json(b"{}")(scope, receive, send)

        server = Server(waits)
        connection, wire = server.connect()
        for _ in range(3):
            await sent(connection, wire, a_request())
        assert len(server.state.tasks) == 1
        connection.shutdown()
        assert not wire.closed
        go_on.set()
        assert b"connection: close" in await sent(connection, wire, b"")
        assert wire.closed

    asyncio.run(scenario())


def test_only_so_many_heads_are_known() -> None:
    heads = Heads()
    scope: Any = {
        "type": "http",
        "asgi": {},
        "http_version": "1.1",
        "root_path": "",
        "method": "GET",
        "raw_path": b"/",
        "path": "/",
    }
    scope |= {"query_string": b"", "headers": [(b"x", b"1")]}
    for _ in range(2):
        for number in range(1000):
            text = b"GET /%d HTTP/1.1\r\nx: 1\r\n\r\n" % number
            heads.learn(text, len(text), scope)
    known = [number for number in range(1000) if heads.find(b"GET /%d HTTP/1.1\r\nx: 1\r\n\r\n" % number)]
    assert 0 < len(known) <= 512
    assert 999 in known
