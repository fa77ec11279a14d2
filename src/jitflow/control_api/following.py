"""Streams of what changes: deltas of workflows, and Kubernetes Events as Argo Server hands them on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from jitflow.app.kube_events import KubeEvents
from jitflow.app.service import Service
from jitflow.control_api.requests import number, selection, sequence
from jitflow.control_api.streams import Emit, Stream, prefers_events
from jitflow.model.following import Delta

_encode = msgspec.json.Encoder().encode


class FollowingRoutes:
    """Handlers of the streams."""

    def __init__(self, service: Service) -> None:
        """Hold the use-cases."""
        self._service = service

    def routes(self) -> list[BaseRoute]:
        """Return the table."""
        table: list[tuple[str, Callable[[Request], Awaitable[Any]]]] = [
            ("/api/jit/v1/workflow-deltas/", self.deltas),
            ("/api/jit/v1/workflow-deltas/{namespace}", self.deltas),
            ("/api/v1/stream/events/", self.kube_events),
            ("/api/v1/stream/events/{namespace}", self.kube_events),
        ]
        return [Route(path, handler, methods=["GET"]) for path, handler in table]

    async def deltas(self, request: Request) -> Stream:
        """Tell of every change what has changed."""

        async def told(emit: Emit, delta: Delta) -> None:
            await emit((_encode(delta),))

        return self._stream(request, sequence(request), told)

    async def kube_events(self, request: Request) -> Stream:
        """Tell what happens from now on (or from a resource version on) as Kubernetes Events."""
        events = KubeEvents()
        after = sequence(request)

        async def told(emit: Emit, delta: Delta) -> None:
            found = [_encode(event) for event in events.of(delta)]
            if found:
                await emit(found)

        return self._stream(request, self._service.sequence if after is None else after, told)

    def _stream(self, request: Request, after: int | None, told: Callable[[Emit, Delta], Awaitable[None]]) -> Stream:
        changes = self._service.deltas(selection(request), after=after)
        limit_s = number(request, "listOptions.timeoutSeconds")

        async def pump(emit: Emit) -> None:
            async def sink(delta: Delta) -> None:
                await told(emit, delta)

            try:
                async with asyncio.timeout(limit_s):
                    await changes.run(sink)
            except TimeoutError:
                return

        return Stream(pump, events=prefers_events(request), closing=self._service.closing)
