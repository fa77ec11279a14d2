"""A far link for tests and demonstrations: a TCP proxy with latency, limited rates, cuts and stalls.

In a test: `async with SlowLink("127.0.0.1", port, rtt_s=0.04, rate_Bps=50e6) as link: ... link.port`.
On its own: `python -m jitflow.testing.slow_link --listen 127.0.0.1:9000 --to 127.0.0.1:8000 --rtt-ms 40 --mbit 400`.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

CHUNK_BYTES = 64 * 1024
SMALLEST_CHUNK_BYTES = 4 * 1024
CHUNK_S = 0.02
"""A chunk takes about so long at the limited rate: small rates get small chunks, so that the flow stays even."""
IN_FLIGHT_BYTES = 4 * 2**20
"""Bytes of one connection and direction that may be on their way; as a TCP window would."""
FOREVER_S = 1e9


@dataclass(kw_only=True)
class Counters:
    """What passed through the link. `up` is toward the server, `down` from it."""

    up_bytes: int = 0
    down_bytes: int = 0
    connections: int = 0
    open_connections: int = 0


@dataclass
class _Pace:
    """Shares a rate: whoever sends next waits until the bytes before have left. None: no limit."""

    rate_Bps: float | None
    free_at: float = 0.0

    def take(self, size: int, now: float) -> float:
        """Return when `size` more bytes have left."""
        if not self.rate_Bps:
            return now
        self.free_at = max(self.free_at, now) + size / self.rate_Bps
        return self.free_at


@dataclass
class _Pipe:
    """Chunks of one direction on their way, each with the time of its arrival; an empty one is the end of the stream."""

    chunks: asyncio.Queue[tuple[float, bytes]] = field(default_factory=asyncio.Queue)
    bytes: int = 0
    room: asyncio.Event = field(default_factory=asyncio.Event)


class SlowLink:
    """A TCP proxy on a free port of 127.0.0.1 that behaves like a long, thin line.

    Rates are in bytes per second: `rate_Bps` is shared by all connections, once for each direction; `connection_rate_Bps` holds
    for each connection and direction alone. A new connection takes one round trip before its first byte.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        rtt_s: float = 0.0,
        rate_Bps: float | None = None,
        connection_rate_Bps: float | None = None,
        listen_host: str = "127.0.0.1",
        listen_port: int = 0,
    ) -> None:
        """Remember where to connect and how slowly."""
        self._to = (host, port)
        self._listen = (listen_host, listen_port)
        self._rtt_s = rtt_s
        self._connection_rate_Bps = connection_rate_Bps
        self._paces = {"up": _Pace(rate_Bps), "down": _Pace(rate_Bps)}
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._accepting = True
        self._sessions: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.counters = Counters()
        self.port = 0

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, *self._listen, limit=4 * CHUNK_BYTES, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Cut everything and stop listening."""
        if self._server:
            self._server.close()
        self._drop_all()
        if self._sessions:
            await asyncio.wait(self._sessions)
        if self._server:
            await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Return the address of this end of the line."""
        return f"http://{self._listen[0]}:{self.port}"

    def cut(self, *, refuse: bool = False) -> None:
        """Break all connections; with `refuse`, new ones are closed at once until `resume`."""
        self._accepting = not refuse
        self._drop_all()

    def throttle(self, rate_Bps: float | None) -> None:
        """Share another rate from now on, None: none."""
        for pace in self._paces.values():
            pace.rate_Bps = rate_Bps

    def stall(self) -> None:
        """Let nothing through any more: connections stay open, bytes stay where they are, until `resume`."""
        self._flowing.clear()

    def resume(self) -> None:
        """End a stall or a refusal."""
        self._accepting = True
        self._flowing.set()

    def _drop_all(self) -> None:
        for session in self._sessions:
            session.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = asyncio.current_task()
        assert session is not None
        if not self._accepting:
            _abort(writer)
            return
        self._sessions.add(session)
        self.counters.connections += 1
        self.counters.open_connections += 1
        try:
            await self._session(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # a cut: both ends see the connection break; asyncio's server must not be told of it
        finally:
            self.counters.open_connections -= 1
            self._sessions.discard(session)
            _abort(writer)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self._rtt_s)
        await self._flowing.wait()
        far_reader, far_writer = await asyncio.open_connection(*self._to, limit=4 * CHUNK_BYTES)
        try:
            async with asyncio.TaskGroup() as group:
                for name, source, sink in (("up", reader, far_writer), ("down", far_reader, writer)):
                    pipe = _Pipe()
                    group.create_task(self._send(name, source, pipe))
                    group.create_task(self._deliver(name, pipe, sink))
        except BaseExceptionGroup as errors:
            raise ConnectionError("a side broke the connection") from errors
        finally:
            _abort(far_writer)

    async def _send(self, name: str, source: asyncio.StreamReader, pipe: _Pipe) -> None:
        """Read one side and put the bytes on the line, as fast as the rates allow."""
        shared, own = self._paces[name], _Pace(self._connection_rate_Bps)
        loop = asyncio.get_running_loop()
        limits = [pace.rate_Bps for pace in (shared, own) if pace.rate_Bps]
        size = max(SMALLEST_CHUNK_BYTES, min(CHUNK_BYTES, int(min(limits) * CHUNK_S))) if limits else CHUNK_BYTES
        while True:
            chunk = await source.read(size)
            now = loop.time()
            left_at = max(own.take(len(chunk), now), shared.take(len(chunk), now))
            if left_at - now > 0.001:
                await asyncio.sleep(left_at - now)
            pipe.chunks.put_nowait((max(left_at, loop.time()) + self._rtt_s / 2, chunk))
            if not chunk:
                return
            pipe.bytes += len(chunk)
            while pipe.bytes > IN_FLIGHT_BYTES:
                pipe.room.clear()
                await pipe.room.wait()

    async def _deliver(self, name: str, pipe: _Pipe, sink: asyncio.StreamWriter) -> None:
        """Take bytes from the line when they have arrived and give them to the other side."""
        loop = asyncio.get_running_loop()
        while True:
            arrives_at, chunk = await pipe.chunks.get()
            if (delay_s := arrives_at - loop.time()) > 0:
                await asyncio.sleep(delay_s)
            await self._flowing.wait()
            if not chunk:
                if sink.can_write_eof():
                    sink.write_eof()
                return
            sink.write(chunk)
            await sink.drain()
            pipe.bytes -= len(chunk)
            pipe.room.set()
            if name == "up":
                self.counters.up_bytes += len(chunk)
            else:
                self.counters.down_bytes += len(chunk)


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close a connection at once, if it is not closed yet."""
    if writer.transport is not None:
        writer.transport.abort()


def _endpoint(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, int(port)


async def _serve(options: argparse.Namespace) -> None:
    def rate(mbit: float | None) -> float | None:
        return mbit * 1e6 / 8 if mbit else None

    link = SlowLink(
        *options.to,
        rtt_s=options.rtt_ms / 1000,
        rate_Bps=rate(options.mbit),
        connection_rate_Bps=rate(options.connection_mbit),
        listen_host=options.listen[0],
        listen_port=options.listen[1],
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with link:
        print(f"listening on {options.listen[0]}:{link.port}", flush=True)
        await stop.wait()
        with contextlib.suppress(BrokenPipeError):  # whoever started it has gone
            print(f"up {link.counters.up_bytes} down {link.counters.down_bytes} bytes", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a link until a signal ends it; the first line printed tells the port, the last the bytes that passed."""
    parser = argparse.ArgumentParser(prog="python -m jitflow.testing.slow_link", description=__doc__)
    parser.add_argument("--listen", type=_endpoint, default=("127.0.0.1", 0), metavar="HOST:PORT", help="port 0: a free one")
    parser.add_argument("--to", type=_endpoint, required=True, metavar="HOST:PORT")
    parser.add_argument("--rtt-ms", type=float, default=0.0, help="round trip in milliseconds")
    parser.add_argument("--mbit", type=float, help="shared rate in each direction, megabits per second")
    parser.add_argument("--connection-mbit", type=float, help="rate of each connection and direction")
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args(arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
