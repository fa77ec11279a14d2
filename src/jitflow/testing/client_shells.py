"""One client whose calls a test writes once, over either shell: the async one is driven call by call."""

import asyncio
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jitflow.client import AsyncClient, Client, Endpoint

SHELLS = ("sync", "async")


class _Driven:
    """A client or a group of it: what is to be awaited is awaited, what is to be iterated with `async for` is iterated."""

    def __init__(self, runner: asyncio.Runner, inner: Any) -> None:
        self._runner = runner
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return _Driven(self._runner, found) if callable(found) or hasattr(found, "_shell") else found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        found = self._inner(*args, **kwargs)
        if inspect.isasyncgen(found):
            return self._items(found)
        if inspect.isawaitable(found):
            return self._runner.run(_awaited(found))
        return _Driven(self._runner, found)

    def _items(self, items: Any) -> Iterator[Any]:
        end = object()
        try:
            while (item := self._runner.run(_awaited(anext(items, end)))) is not end:
                yield item
        finally:
            self._runner.run(items.aclose())


async def _awaited(found: Any) -> Any:
    return await found


@contextmanager
def opened(shell: str, server: str | Endpoint, **more: Any) -> Iterator[Any]:
    """Give a client over one of the shells, its methods to be called as those of `Client`."""
    if shell == "sync":
        with Client(server, **more) as client:
            yield client
        return
    if pause := more.get("pause"):
        more["pause"] = lambda seconds: _paused(pause, seconds)
    with asyncio.Runner() as runner:
        client = AsyncClient(server, **more)
        yield _Driven(runner, client)
        runner.run(client.close())


async def _paused(pause: Any, seconds: float) -> None:
    pause(seconds)
