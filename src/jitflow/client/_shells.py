"""The two shells: each performs the effects of scripts, one blocking, the other awaiting. Nothing else differs between them."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import AsyncExitStack, ExitStack, closing
from importlib import import_module
from typing import Any, TypeVar

import httpx

from jitflow.client._effects import Answer, Ask, Effect, Emit, Locate, Now, Open, Pause, Read, Request, Script, Shut
from jitflow.client._endpoint import Endpoint, trust
from jitflow.client._errors import ServerLost

T = TypeVar("T")

CONNECT_S = 5.0
STREAM_READ_S = 60.0
"""The server sends a keep-alive every 15 seconds: longer silence is a dead connection."""
_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.InvalidURL, httpx.UnsupportedProtocol)
FAILURES = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)


class Wire:
    """What both shells share: where the server is, and requests and answers in httpx's terms."""

    def __init__(
        self,
        endpoint: Endpoint,
        timeout_s: float,
        attempts: int,
        patience_s: float,
        relocate: Callable[[], Endpoint | None] | None,
    ) -> None:
        """`attempts`: how often a request is sent at most. `relocate`: looks up where the server is now."""
        self.endpoint = endpoint
        self.timeout_s = timeout_s
        self.attempts = max(1, attempts)
        self.patience_s = patience_s
        self.relocate = relocate

    def options(self) -> dict[str, Any]:
        """Return what both kinds of httpx clients and transports are made with."""
        # Proxies of the environment are for the outside world; a server is named by its own address.
        local = bool(self.endpoint.socket) or _host(self.endpoint.url) in _LOCAL
        return {"timeout": self._timeout(self.timeout_s), "trust_env": not local, "verify": trust(self.endpoint)}

    def arguments(self, request: Request, *, stream: bool) -> dict[str, Any]:
        """Return what httpx is called with."""
        headers = {"content-type": request.media, "accept": request.accept}
        if self.endpoint.token:
            headers["authorization"] = f"Bearer {self.endpoint.token}"
        return {
            "method": request.method,
            "url": self.endpoint.url.rstrip("/") + request.path,
            "params": request.query or None,
            "content": request.body or None,
            "headers": headers,
            "timeout": self._timeout(None if request.patient else STREAM_READ_S if stream else self.timeout_s),
        }

    def perform(self, effect: Effect) -> Any:
        """Perform an effect that needs neither blocking nor awaiting."""
        if isinstance(effect, Now):
            return time.monotonic()
        assert isinstance(effect, Locate), effect
        self.endpoint = (self.relocate() if self.relocate else None) or self.endpoint
        return None

    def lost(self, error: Exception) -> ServerLost:
        """Return the error that a failure of the connection stands for."""
        url, reason = self.endpoint.url, str(error) or type(error).__name__
        message = f"the server at {url} does not answer ({reason}); is it running, and is its address right?"
        if isinstance(error, (httpx.InvalidURL, httpx.UnsupportedProtocol)):
            message = f"{url} is no usable server address: {reason}"
        return ServerLost(message, sent=not isinstance(error, _UNSENT))

    def _timeout(self, seconds: float | None) -> httpx.Timeout:
        return httpx.Timeout(seconds, connect=min(self.timeout_s, CONNECT_S))


class Steps:
    """A script under way: its next effect, and what came of it."""

    def __init__(self, script: Script[Any]) -> None:
        """Begin."""
        self._script = script
        self._resume: Callable[[Any], Effect] = script.send
        self._value: Any = None
        self.result: Any = None

    def next(self) -> Effect | None:
        """Go on to the next effect; None at the end, then `result` is the script's."""
        resume, value = self._resume, self._value
        self._resume, self._value = self._script.send, None
        try:
            return resume(value)
        except StopIteration as end:
            self.result = end.value
            return None

    def give(self, value: Any) -> None:
        """The effect gave this."""
        self._value = value

    def fail(self, error: ServerLost, cause: Exception) -> None:
        """The effect failed: raise the error in the script."""
        error.__cause__ = cause
        self._resume, self._value = self._script.throw, error


class SyncShell:
    """Performs effects, blocking."""

    def __init__(self, wire: Wire, pause: Callable[[float], Any] = time.sleep) -> None:
        """Make no connection yet."""
        self.wire = wire
        self._pause = pause
        self._http = _made(httpx.Client, httpx.HTTPTransport, wire)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def run(self, script: Script[T]) -> T:
        """Run a script to its end and return its result."""
        steps = Steps(script)
        for _ in self._items(script, steps):
            raise AssertionError("only streams emit")
        return steps.result

    def iterate(self, script: Script[None]) -> Generator[Any, None, None]:
        """Yield what a script emits."""
        return self._items(script, Steps(script))

    def _items(self, script: Script[Any], steps: Steps) -> Generator[Any, None, None]:
        with _SyncAnswer(self._http) as opened, closing(script):
            while (effect := steps.next()) is not None:
                if isinstance(effect, Emit):
                    yield effect.item
                    continue
                try:
                    steps.give(self._perform(effect, opened))
                except FAILURES as error:
                    steps.fail(self.wire.lost(error), error)

    def _perform(self, effect: Effect, opened: "_SyncAnswer") -> Any:
        match effect:
            case Ask(request):
                response = self._http.request(**self.wire.arguments(request, stream=False))
                return _answer(response, response.content)
            case Open(request):
                return opened.open(self.wire.arguments(request, stream=True))
            case Read():
                return next(opened.chunks, b"")
            case Shut():
                return opened.close()
            case Pause(seconds):
                return self._pause(seconds)
            case _:
                return self.wire.perform(effect)


class AsyncShell:
    """Performs effects, awaiting."""

    def __init__(self, wire: Wire, pause: Callable[[float], Any] | None = None) -> None:
        """Make no connection yet. `pause`: how to wait some seconds, as `asyncio.sleep`."""
        self.wire = wire
        self._pause = pause or import_module("asyncio").sleep
        self._http = _made(httpx.AsyncClient, httpx.AsyncHTTPTransport, wire)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def run(self, script: Script[T]) -> T:
        """Run a script to its end and return its result."""
        steps = Steps(script)
        async for _ in self._items(script, steps):
            raise AssertionError("only streams emit")
        return steps.result

    def iterate(self, script: Script[None]) -> AsyncGenerator[Any, None]:
        """Yield what a script emits."""
        return self._items(script, Steps(script))

    async def _items(self, script: Script[Any], steps: Steps) -> AsyncGenerator[Any, None]:
        async with _AsyncAnswer(self._http) as opened:
            with closing(script):
                while (effect := steps.next()) is not None:
                    if isinstance(effect, Emit):
                        yield effect.item
                        continue
                    try:
                        steps.give(await self._perform(effect, opened))
                    except FAILURES as error:
                        steps.fail(self.wire.lost(error), error)

    async def _perform(self, effect: Effect, opened: "_AsyncAnswer") -> Any:
        match effect:
            case Ask(request):
                response = await self._http.request(**self.wire.arguments(request, stream=False))
                return _answer(response, response.content)
            case Open(request):
                return await opened.open(self.wire.arguments(request, stream=True))
            case Read():
                return await anext(opened.chunks, b"")
            case Shut():
                return await opened.aclose()
            case Pause(seconds):
                return await self._pause(seconds)
            case _:
                return self.wire.perform(effect)


class _SyncAnswer(ExitStack):
    """The answer that is open, if one is."""

    def __init__(self, http: httpx.Client) -> None:
        super().__init__()
        self._http = http
        self.chunks: Iterator[bytes] = iter(())

    def open(self, arguments: dict[str, Any]) -> Answer:
        self.close()
        response = self.enter_context(self._http.stream(**arguments))
        self.chunks = response.iter_bytes()
        return _answer(response, b"" if response.is_success else response.read())


class _AsyncAnswer(AsyncExitStack):
    """The answer that is open, if one is."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        super().__init__()
        self._http = http
        self.chunks: AsyncIterator[bytes] = _no_chunks()

    async def open(self, arguments: dict[str, Any]) -> Answer:
        await self.aclose()
        response = await self.enter_async_context(self._http.stream(**arguments))
        self.chunks = response.aiter_bytes()
        return _answer(response, b"" if response.is_success else await response.aread())


async def _no_chunks() -> AsyncIterator[bytes]:
    return
    yield b""


def _made(client: Callable[..., T], transport: Callable[..., Any], wire: Wire) -> T:
    socket, options = wire.endpoint.socket, wire.options()
    return client(transport=transport(uds=socket) if socket else None, follow_redirects=False, **options)


def _answer(response: httpx.Response, body: bytes) -> Answer:
    return Answer(status=response.status_code, headers=dict(response.headers), body=body)


def _host(url: str) -> str:
    try:
        return httpx.URL(url).host
    except httpx.InvalidURL:
        return ""
