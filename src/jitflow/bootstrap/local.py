"""Servers of this machine: find the one that runs, run one, or embed one in a thread."""

import asyncio
import contextlib
import math
import os
import signal
import socket
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import cast

import msgspec
import uvicorn

from jitflow import telemetry
from jitflow.bootstrap.connections import application, protocol, tls
from jitflow.bootstrap.home import Home, ServerInfo
from jitflow.bootstrap.listening import listening, url_of
from jitflow.bootstrap.stack import DATA, Stack, open_stack
from jitflow.bootstrap.system import calm_collector
from jitflow.settings import Settings, load

__all__ = ["ServerInfo", "find_server", "run_server", "serve", "serve_in_thread"]

CLOSE_S = 30.0
"""After requests have ended, the parts of a server get so many seconds to close; a restart finds the rest out."""
_log = telemetry.logger("server")


def find_server(settings: Settings | None = None) -> ServerInfo | None:
    """Return the server that runs for the data home of the settings, or None."""
    return Home(Path((settings or load()).home)).find_server()


def run_server(host: str | None = None, port: int | None = None, *, settings: Settings | None = None, only: str = "") -> int:
    """Run a server until it is told to stop (INT or TERM); return the process's exit code. `only`: see `opened`.

    Raises:
        SettingsError, Refused, PortError, OSError: it cannot start.
    """
    settings = _with_address(settings or load(), host, port)
    telemetry.configure(level=settings.log_level, as_json=_FORMATS[settings.log_format])
    calm_collector()
    asyncio.run(serve(settings, on_ready=lambda info: print(f"jitflow listens on {info.url}", flush=True), only=only))
    return 0


async def serve(
    settings: Settings,
    *,
    on_ready: Callable[[ServerInfo], None] | None = None,
    stop: asyncio.Event | None = None,
    only: str = "",
) -> None:
    """Serve until a signal (in the main thread) or `stop`; `on_ready` is called when requests are answered."""
    context = tls(settings.server)
    home = Home(Path(settings.home))
    with listening(settings.server) as (listener, local), contextlib.ExitStack() as closing:
        closing.callback(home.forget_server)
        url = url_of(listener, encrypted=context is not None)
        async with opened(settings, url, only) as stack:
            config = uvicorn.Config(
                application(stack.app),
                loop="asyncio",  # processes start here: uvloop forks the whole server for each of them
                http=protocol(settings.server),
                ssl_context_factory=None if context is None else lambda _config, _default: context,
                ws="none",
                lifespan="off",
                log_level="warning",
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=math.ceil(settings.server.drain_s),
            )
            info = ServerInfo(url=url, token=stack.token, pid=os.getpid())

            def tell() -> None:
                if stack.ended is None or home.find_server() is None:
                    home.write_server(info.url)
                if on_ready is not None:
                    on_ready(info)

            server = _Server(config, tell, stack.drain, local)
            if threading.current_thread() is threading.main_thread():
                for number in (signal.SIGINT, signal.SIGTERM):
                    asyncio.get_running_loop().add_signal_handler(number, _told_to_stop, number, server, settings.server.drain_s)
            async with asyncio.TaskGroup() as tasks:
                reasons = (stop, stack.ended)
                watchers = [tasks.create_task(_stop_when(one, server)) for one in reasons if one is not None]
                await server.serve(sockets=[listener])
                for watcher in watchers:
                    watcher.cancel()


class _Server(uvicorn.Server):
    """Tells when it answers requests and when it stops to: open streams end then, or it would wait for them."""

    def __init__(
        self,
        config: uvicorn.Config,
        on_started: Callable[[], None],
        on_stopping: Callable[[], None],
        local: socket.socket | None = None,
    ) -> None:
        super().__init__(config)
        self._local = local
        self._on_started = on_started
        self._on_stopping = on_stopping

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to `serve`: uvicorn would raise them again before the server's parts have been stopped."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._local is not None:
            # No TLS here, whatever the port speaks: nothing leaves the machine, and who may connect the file's mode says.
            self.servers.append(await asyncio.get_running_loop().create_unix_server(self._connection, sock=self._local))
        if self.started:
            self._on_started()

    def _connection(self) -> asyncio.Protocol:
        kind = cast("Callable[..., asyncio.Protocol]", self.config.http_protocol_class)
        return kind(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stopping()
        await super().shutdown(sockets)


_FORMATS = {"auto": None, "json": True, "text": False}


def _told_to_stop(number: signal.Signals, server: _Server, drain_s: float) -> None:
    """Drain on the first signal; end at once on the second, or when the time is over: whatever is killed, nothing is lost."""
    if server.should_exit:
        _end(number)
        return
    _log.info("draining", signal=number.name, requests=len(server.server_state.tasks), at_most_s=drain_s + CLOSE_S)
    server.should_exit = True
    late = threading.Timer(drain_s + CLOSE_S, _end, [signal.SIGKILL])
    late.daemon = True
    late.start()


def _end(number: signal.Signals) -> None:
    """End this process by a signal, as if nobody had taken it."""
    if number is not signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


@contextlib.contextmanager
def serve_in_thread(settings: Settings | None = None) -> Iterator[ServerInfo]:
    """Run a server of this process on a free loopback port while the context is open.

    Raises:
        SettingsError, Refused, PortError, OSError: it cannot start.
    """
    chosen = _with_address(settings or load(), "127.0.0.1", 0)
    embedded = _Embedded(chosen)
    embedded.start()
    try:
        yield embedded.wait_ready()
    finally:
        embedded.stop()


class _Embedded:
    """A server with an event loop of its own, in a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ready = threading.Event()
        self._info: ServerInfo | None = None
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="jitflow-server", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def wait_ready(self) -> ServerInfo:
        """Return how to reach it, or raise what kept it from starting."""
        self._ready.wait()
        if self._info is None:
            raise self._error or RuntimeError("the embedded server ended before it was ready")
        return self._info

    def stop(self) -> None:
        """End it and wait."""
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await serve(self._settings, on_ready=self._tell, stop=self._stop)

    def _tell(self, info: ServerInfo) -> None:
        self._info = info
        self._ready.set()


def opened(settings: Settings, url: str, only: str = "") -> AbstractAsyncContextManager[Stack]:
    """Return a server's parts as a context: alone, or as one of several; all of them, or `only` the `control` or `data` side."""
    if only == DATA:
        from jitflow.bootstrap.dataserver import open_data_stack  # noqa: PLC0415 - few are started so

        return open_data_stack(settings)
    if not settings.state.share:
        return open_stack(settings, only=only)
    from jitflow.bootstrap.sharing import open_shared  # noqa: PLC0415 - few share

    return open_shared(settings, url, only)


async def _stop_when(stop: asyncio.Event, server: uvicorn.Server) -> None:
    await stop.wait()
    server.should_exit = True


def _with_address(settings: Settings, host: str | None, port: int | None) -> Settings:
    server = msgspec.structs.replace(
        settings.server,
        host=settings.server.host if host is None else host,
        port=settings.server.port if port is None else port,
    )
    return msgspec.structs.replace(settings, server=server)
