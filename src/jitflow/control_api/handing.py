"""The Data API as a control service answers it: each request, allowed by the same table, is handed on to the data service."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

import httpx
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from jitflow.access import IDENTITY, NEEDS, Identity, on_behalf
from jitflow.model.problems import Refused
from jitflow.ports.datalink import BEHALF
from jitflow.ports.errors import AccessRefused, PortError, Unreachable
from jitflow.telemetry import logger

_DATA: Final = ("/data/v1/", "/rclone/")
_REMOTES: Final = ("/data/v1/remotes", "/rclone/configure")
_DROPPED: Final = frozenset(
    {
        b"authorization",
        b"connection",
        b"cookie",
        b"host",
        b"keep-alive",
        b"origin",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"x-api-key",
        BEHALF.encode(),
    }
)
_NOT_SENT_ON: Final = _DROPPED | {b"x-request-id"}
"""Nor is the name that the data service has for its part of a request: the answer has that of this service."""
_CONNECT_S: Final = 5.0
_log = logger("datalink")


class DataService:
    """Where requests are handed on to."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        token: Callable[[], str],
        remotes_changed: Callable[[], Awaitable[None]],
        marks: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """Hold the parts.

        `token`: of the link. `remotes_changed`: called when a request may have changed a remote, before it is answered. `marks`:
        returns headers that say of which trace a request is part now.
        """
        self._client = client
        self._url = url
        self._token = token
        self._remotes_changed = remotes_changed
        self._marks = marks

    def routes(self) -> list[BaseRoute]:
        """Return a route for each of the Data API."""
        return [Route(path, self._handle, methods=[method]) for method, path in NEEDS if path.startswith(_DATA)]

    async def _handle(self, request: Request) -> ASGIApp:
        response = await self._asked(request)
        if request.method != "GET" and request.url.path.startswith(_REMOTES) and response.is_success:
            with contextlib.suppress(PortError, Refused):  # it is heard of a moment later
                await self._remotes_changed()
        return _Answer(response)

    def _shown(self) -> bytes:
        try:
            return self._token().encode()
        except AccessRefused as error:
            raise Unreachable(str(error)) from error

    async def _asked(self, request: Request) -> httpx.Response:
        """Return the beginning of the answer.

        Raises:
            Unreachable: there is none.
        """
        scope = request.scope
        identity: Identity = scope[IDENTITY]
        marks = {name.encode(): value.encode() for name, value in self._marks().items()}
        headers = [(name, value) for name, value in scope["headers"] if name not in _DROPPED and name not in marks]
        headers += [*marks.items(), (b"authorization", b"Bearer " + self._shown()), (BEHALF.encode(), on_behalf(identity))]
        path = scope.get("raw_path") or scope["path"].encode()
        query = scope.get("query_string", b"")
        url = httpx.URL(self._url).copy_with(raw_path=path + (b"?" + query if query else b""))
        has_body = request.headers.get("transfer-encoding") or request.headers.get("content-length", "0") != "0"
        content = _body(request) if has_body else None
        timeout = httpx.Timeout(None, connect=_CONNECT_S).as_dict()
        made = httpx.Request(request.method, url, headers=headers, content=content, extensions={"timeout": timeout})
        try:
            response = await self._client.send(made, stream=True)
        except httpx.ConnectError as error:
            raise Unreachable(f"the data service at {self._url} does not answer; nothing was done, ask again") from error
        except httpx.HTTPError as error:
            more = "" if request.method in {"GET", "HEAD"} else ": look whether this was done before you ask again"
            raise Unreachable(f"the data service at {self._url} ended before it answered{more}") from error
        if response.status_code == httpx.codes.UNAUTHORIZED:
            await response.aclose()
            raise Unreachable(f"the data service at {self._url} does not take this service's token; see data.token")
        return response


async def _body(request: Request) -> AsyncIterator[bytes]:
    async for part in request.stream():
        if part:
            yield part


class _Answer:
    """Sends an answer on as it comes; half of one does not look like a whole one."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = self._response
        headers = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in _NOT_SENT_ON]
        try:
            await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            async with asyncio.TaskGroup() as group:
                pumping = group.create_task(_pump(response, send))
                ends = {pumping, group.create_task(_until_gone(receive))}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                for task in ends:
                    task.cancel()
        finally:
            await response.aclose()
        if pumping.done() and not pumping.cancelled() and pumping.result():
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _pump(response: httpx.Response, send: Send) -> bool:
    """Send what comes; True if that was all of it."""
    try:
        async for part in response.aiter_raw():
            await send({"type": "http.response.body", "body": part, "more_body": True})
    except httpx.HTTPError as error:
        _log.warning("an answer of the data service was cut off", reason=type(error).__name__)
        return False
    return True


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
