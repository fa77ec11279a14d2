"""Answers that leave as one are those that uvicorn would have sent."""

import asyncio
import re
from typing import Any

import pytest
import uvicorn
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.server import ServerState

from jitflow.access import Gate, Limits
from jitflow.bootstrap.connections import protocol
from jitflow.bootstrap.whole import MOST_BYTES, Served
from jitflow.control_api.answers import Json
from jitflow.control_api.requests import body_of
from jitflow.control_api.shell import Shell
from jitflow.settings import ServerSettings

ANSWERS: dict[str, tuple[int, list[tuple[bytes, bytes]], list[bytes]]] = {
    "/short": (201, [(b"content-length", b"5"), (b"X-Name", b"a b")], [b"short"]),
    "/empty": (404, [(b"content-length", b"0")], [b""]),
    "/pieces": (200, [(b"content-length", b"6")], [b"two", b"men"]),
    "/unknown": (200, [(b"content-type", b"text/plain")], [b"some", b"more"]),
    "/closed": (200, [(b"content-length", b"4"), (b"connection", b"close")], [b"last"]),
    "/large": (200, [(b"content-length", b"%d" % (MOST_BYTES + 1))], [b"x" * (MOST_BYTES + 1)]),
    "/longer": (200, [(b"content-length", b"3")], [b"four"]),
    "/shorter": (200, [(b"content-length", b"5")], [b"four"]),
    "/injected": (200, [(b"content-length", b"2"), (b"x-name", b"a\r\nx-other: b")], [b"ok"]),
}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    status, headers, pieces = ANSWERS[scope["path"]]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for number, piece in enumerate(pieces, start=1):
        await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})


async def answered(app: ASGIApp, requests: bytes) -> bytes:
    """Return all that a server sends over a connection in answer to some requests."""
    config = uvicorn.Config(app, http=protocol(ServerSettings()), ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    kind: Any = config.http_protocol_class
    server = await asyncio.get_running_loop().create_server(
        lambda: kind(config=config, server_state=ServerState(), app_state={}), "127.0.0.1", 0
    )
    async with server, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(requests)
        found = await reader.read()
        writer.close()
        return found


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize("path", list(ANSWERS))
def test_what_leaves_as_one_is_what_uvicorn_sends(path: str, method: str) -> None:
    kept = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nab".encode()
    last = b"GET /short HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"

    async def both() -> tuple[bytes, bytes]:
        return await answered(application, kept + kept + last), await answered(Served(application), kept + kept + last)

    theirs, ours = asyncio.run(both())
    if path == "/injected":
        assert b"x-other" not in theirs + ours
    else:
        assert ours == theirs
        assert ours


def test_a_connection_is_closed_when_it_is_idle_and_not_before() -> None:
    """One timer goes on from request to request; it must not end a connection that is in use."""
    one = b"GET /short HTTP/1.1\r\nhost: x\r\n\r\n"

    async def scenario() -> None:
        config = uvicorn.Config(Served(application), http=protocol(ServerSettings()), ws="none", lifespan="off", log_config=None)
        config.access_log, config.timeout_keep_alive = False, 0.3  # type: ignore[assignment]
        config.load()
        kind: Any = config.http_protocol_class
        server = await asyncio.get_running_loop().create_server(
            lambda: kind(config=config, server_state=ServerState(), app_state={}), "127.0.0.1", 0
        )
        async with server, asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for _ in range(6):
                writer.write(one)
                assert (await reader.readuntil(b"short")).startswith(b"HTTP/1.1 201")
                await asyncio.sleep(0.1)
            began = asyncio.get_running_loop().time()
            assert await reader.read() == b""
            assert 0.1 < asyncio.get_running_loop().time() - began < 2.0
            writer.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("headers", ["", "x-request-id: mine\r\n", "connection: close\r\n", "expect: 100-continue\r\n"])
def test_a_json_answer_that_is_written_directly_is_the_one_that_messages_make(headers: str) -> None:
    """Body and answer of a request go past the messages only where nothing stands between the server and the shell."""

    async def echoed(scope: Scope, receive: Receive, send: Send) -> None:
        await Json(await body_of(Request(scope, receive, send)))(scope, receive, send)

    told: list[int] = []
    shell = Shell(echoed, Gate("secret"), answered=lambda scope, status: told.append(status))

    async def seen(scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            await send(message)

        await shell(scope, receive, sent)

    one = f"POST / HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer secret\r\n{headers}content-length: 5\r\n\r\n{{  }}\n"
    last = "GET / HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer secret\r\nx-request-id: last\r\nconnection: close\r\n\r\n"

    async def both() -> list[bytes]:
        return [await answered(app, (one + one + last).encode()) for app in (Served(seen), Served(shell))]

    by_messages, directly = (re.sub(rb"(?<=x-request-id: )[0-9a-f]+-[0-9a-f]+", b"N", found) for found in asyncio.run(both()))
    assert directly == by_messages
    assert directly.count(b"{  }\n") == (1 if "close" in headers else 2)
    assert told.count(200) == len(told) > 0


def test_a_body_that_is_all_there_may_be_too_long() -> None:
    async def echoed(scope: Scope, receive: Receive, send: Send) -> None:
        await Json(await body_of(Request(scope, receive, send)))(scope, receive, send)

    app = Served(Shell(echoed, Gate("secret"), limits=Limits(body_bytes=4)))
    head = "POST / HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer secret\r\nconnection: close\r\n"
    chunked = head + "transfer-encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n"
    assert asyncio.run(answered(app, chunked.encode())).startswith(b"HTTP/1.1 413")
