"""Answers that leave as one are those that uvicorn would have sent."""

import asyncio
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from jitflow.bootstrap.connections import protocol
from jitflow.bootstrap.whole import MOST_BYTES, in_one
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
        return await answered(application, kept + kept + last), await answered(in_one(application), kept + kept + last)

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
        config = uvicorn.Config(in_one(application), http=protocol(ServerSettings()), ws="none", lifespan="off", log_config=None)
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
