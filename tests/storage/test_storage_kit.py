"""The test kit itself: the slow link, the S3 server, the faults of the fake."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from storage_worlds import ignore

from jitflow.model.data import ObjectRef
from jitflow.ports.errors import Busy, Corrupt, SourceChanged, Stalled
from jitflow.testing.fake_storage import FakeStorage, Script
from jitflow.testing.s3_server import S3Server
from jitflow.testing.slow_link import SlowLink

MB = 1_000_000
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def echo(**options: float) -> AsyncIterator[SlowLink]:
    """A link to a server that sends back what it gets."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        async with SlowLink("127.0.0.1", server.sockets[0].getsockname()[1], **options) as link:
            yield link
    finally:
        server.close()


async def round_trip(streams: Streams, data: bytes) -> bytes:
    reader, writer = streams

    async def send() -> None:
        writer.write(data)
        await writer.drain()

    async with asyncio.TaskGroup() as group:
        group.create_task(send())
        got = group.create_task(reader.readexactly(len(data)))
    return got.result()


def test_bytes_pass_unchanged_and_are_counted() -> None:
    async def story() -> None:
        async with echo() as link:
            streams = await asyncio.open_connection("127.0.0.1", link.port)
            data = os.urandom(3 * MB)
            assert await round_trip(streams, data) == data
            assert (link.counters.up_bytes, link.counters.down_bytes) == (3 * MB, 3 * MB)
            assert (link.counters.connections, link.counters.open_connections) == (1, 1)
            streams[1].write_eof()
            assert await streams[0].read() == b""
            streams[1].close()

    asyncio.run(story())


def test_a_round_trip_takes_its_time() -> None:
    async def story() -> None:
        async with echo(rtt_s=0.1) as link:
            streams = await asyncio.open_connection("127.0.0.1", link.port)
            began = time.monotonic()
            await round_trip(streams, b"x")
            assert time.monotonic() - began >= 0.19  # the connection's own round trip and that of the byte
            began = time.monotonic()
            await round_trip(streams, b"x")
            assert 0.09 <= time.monotonic() - began < 0.19
            streams[1].close()

    asyncio.run(story())


def test_the_rate_is_shared_and_that_of_a_connection_is_its_own() -> None:
    async def timed(link: SlowLink, connections: int, size: int) -> float:
        streams = [await asyncio.open_connection("127.0.0.1", link.port) for _ in range(connections)]
        began = time.monotonic()
        await asyncio.gather(*(round_trip(each, bytes(size)) for each in streams))
        for _, writer in streams:
            writer.close()
        return time.monotonic() - began

    async def story() -> None:
        async with echo(rate_Bps=10 * MB) as link:
            assert 0.38 <= await timed(link, 4, MB) < 2
        async with echo(connection_rate_Bps=5 * MB) as link:
            assert 0.38 <= await timed(link, 4, 2 * MB) < 1.4

    asyncio.run(story())


def test_a_stall_keeps_everything_where_it_is_until_it_is_resumed() -> None:
    async def story() -> None:
        async with echo() as link:
            streams = await asyncio.open_connection("127.0.0.1", link.port)
            await round_trip(streams, b"before")
            link.stall()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(round_trip(streams, b"during"), 0.2)
            link.resume()
            assert await asyncio.wait_for(streams[0].readexactly(6), 5) == b"during"
            streams[1].close()

    asyncio.run(story())


def test_a_cut_breaks_connections_and_new_ones_work() -> None:
    async def story() -> None:
        async with echo() as link:
            streams = await asyncio.open_connection("127.0.0.1", link.port)
            await round_trip(streams, b"before")
            link.cut()
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await streams[0].readexactly(1)
            again = await asyncio.open_connection("127.0.0.1", link.port)
            assert await round_trip(again, b"after") == b"after"
            link.cut(refuse=True)
            refused = await asyncio.open_connection("127.0.0.1", link.port)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await refused[0].readexactly(1)
            for _, writer in (streams, again, refused):
                writer.close()

    asyncio.run(story())


def test_the_link_runs_on_its_own(s3: S3Server) -> None:
    command = [
        sys.executable,
        "-m",
        "jitflow.testing.slow_link",
        "--to",
        f"127.0.0.1:{s3.port}",
        "--rtt-ms",
        "1",
        "--mbit",
        "100",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as link:
        assert link.stdout is not None
        port = int(link.stdout.readline().rpartition(":")[2])

        async def ask() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            answer = await reader.read()
            writer.close()
            return answer

        assert b"HTTP/1.0" in asyncio.run(ask())
        link.send_signal(signal.SIGTERM)
        assert link.stdout.read().startswith("up 18 down ")
        assert link.wait(10) == 0


def test_a_server_that_cannot_start_says_why(s3: S3Server, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="in use"):
        S3Server(tmp_path, port=s3.port).start()
    with pytest.raises(RuntimeError, match="does not answer"):
        S3Server(tmp_path, key_id="a,b").start()


def test_a_stopped_server_starts_again_at_its_port(tmp_path: Path) -> None:
    with S3Server(tmp_path / "root") as server:
        port, pid = server.port, server.pid
        server.stop()
        server.start()
        assert server.port == port
        assert server.pid != pid
        assert server.secret not in Path(f"/proc/{server.pid}/cmdline").read_text()


def test_the_fake_fails_as_it_is_told(tmp_path: Path) -> None:
    async def story() -> None:
        storage = FakeStorage()
        ref = ObjectRef(remote="far", path="b/x")
        storage.put(ref, b"12345678")
        info = await storage.stat(ref)
        for script, error in (
            (Script(error=Busy("later"), times=1), Busy),
            (Script(stall=True, times=1), Stalled),
            (Script(corrupt=True, times=1), Corrupt),
        ):
            storage.script(ref, script)
            with pytest.raises(error):
                await storage.fetch(info, tmp_path / "x", ignore)
            assert not (tmp_path / "x").exists()
            assert await storage.fetch(info, tmp_path / "x", ignore) == info
            (tmp_path / "x").unlink()
        storage.script(ref, Script(becomes=b"87654321"))
        with pytest.raises(SourceChanged):
            await storage.fetch(info, tmp_path / "x", ignore)
        assert not (tmp_path / "x").exists()

    asyncio.run(story())


def test_the_fake_waits_at_its_gate_and_counts(tmp_path: Path) -> None:
    async def story() -> None:
        storage = FakeStorage()
        refs = [ObjectRef(remote="far", path=f"b/{name}") for name in "xyz"]
        gate = asyncio.Event()
        for ref in refs:
            storage.put(ref, b"1")
            storage.script(ref, Script(gate=gate))
        async with asyncio.TaskGroup() as group:
            for ref in refs:
                group.create_task(storage.fetch(await storage.stat(ref), tmp_path / ref.path, ignore))
            while storage.seen.running < len(refs):
                await asyncio.sleep(0)
            assert not tmp_path.joinpath("b").exists()
            gate.set()
        assert storage.seen.fetched == refs
        assert (storage.seen.most_running, storage.seen.running) == (3, 0)

    asyncio.run(story())
