"""Short requests over a Unix socket: a server that answers in every way, and rclone itself."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from storage_worlds import opened

from jitflow.storage.endpoints import Endpoint
from jitflow.storage.exchange import Exchange, Lost, Reading

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKS = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
LAST = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
@pytest.mark.parametrize(("said", "answer"), [(WHOLE, (200, b"hello")), (CHUNKS, (404, b"hello")), (LAST, (200, b""))])
def test_an_answer_may_come_in_any_parts(said: bytes, answer: tuple[int, bytes], step: int) -> None:
    reading = Reading()
    results = [reading.feed(said[at : at + step]) for at in range(0, len(said), step)]
    assert results[-1] == answer
    assert not any(results[:-1])
    assert reading.closes == (said == LAST)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no answer of HTTP/1"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "unknown length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "unknown length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "invalid literal"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", "does not end"),
        (WHOLE + b"x", "more came"),
        (b"x" * 70_000, "end of its head"),
    ],
)
def test_what_is_no_answer_is_told(said: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Reading().feed(said)


class Server:
    """Counts connections, and answers each request as `answer` says: None hangs up, nothing says nothing."""

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self.answer = answer
        self.connections = self.ended = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                said = self.answer(head + await reader.readexactly(length))
                if said is None:
                    return
                writer.write(said)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.ended += 1
            writer.close()


@asynccontextmanager
async def exchanging(tmp_path: Path, answer: Callable[[bytes], bytes | None]) -> AsyncIterator[tuple[Exchange, Server]]:
    server = Server(answer)
    exchange = Exchange(Endpoint(path=str(tmp_path / "socket")), {"Host": "x"})
    async with await asyncio.start_unix_server(server.talk, tmp_path / "socket"):
        yield exchange, server
        await exchange.close()


def echo(request: bytes) -> bytes:
    body = request.partition(b"\r\n\r\n")[2]
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def test_requests_at_once_have_connections_of_their_own_and_later_ones_use_them_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with exchanging(tmp_path, echo) as (exchange, server):
            for _ in range(3):
                answers = await asyncio.gather(*(exchange.post("echo", b"%d" % number) for number in range(20)))
                assert answers == [(200, b"%d" % number) for number in range(20)]
            assert server.connections == 20

    asyncio.run(story())


def test_who_gives_up_hangs_up_and_does_not_get_another_ones_answer(tmp_path: Path) -> None:
    async def story() -> None:
        async with exchanging(tmp_path, lambda request: b"" if b"wait" in request else echo(request)) as (exchange, server):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await exchange.post("echo", b"wait")
            while not server.ended:
                await asyncio.sleep(0.01)
            assert await exchange.post("echo", b"next") == (200, b"next")

    asyncio.run(story())


def test_a_server_that_hangs_up_or_is_not_there_is_lost(tmp_path: Path) -> None:
    async def story() -> None:
        async with exchanging(tmp_path, lambda request: None if b"bye" in request else echo(request)) as (exchange, server):
            with pytest.raises(Lost):
                await exchange.post("echo", b"bye")
            assert await exchange.post("echo", b"again") == (200, b"again")
            waiting, _ = await asyncio.gather(exchange.post("echo", b"again"), exchange.close(), return_exceptions=True)
            assert isinstance(waiting, Lost)
            assert server.connections == 2
        with pytest.raises(Lost):
            await Exchange(Endpoint(path=str(tmp_path / "nobody")), {}).post("echo", b"")

    asyncio.run(story())


def test_rclone_ends_no_call_because_it_takes_long() -> None:
    async def story() -> None:
        async with opened() as storage:
            options: dict[str, Any] = msgspec.json.decode(await storage._ask("options/get", {"blocks": "rc"}))
            http = options["rc"].get("HTTP", options["rc"])
            assert (http["ServerReadTimeout"], http["ServerWriteTimeout"]) == (0, 0)

    asyncio.run(story())
