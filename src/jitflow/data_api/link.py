"""The routes of the link, by which a control service drives this data service. Programs of people have no use for them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from jitflow.app.datalink import DataLink, NoSession
from jitflow.data_api.answers import answer, number, read
from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.model.problems import Refused
from jitflow.ports import datalink as link
from jitflow.ports.errors import PortError

Handler = Callable[[Request], Awaitable[Response]]
_SESSION = link.PATH + "/sessions/{session}"
_encode = msgspec.json.Encoder().encode


def link_routes(data: DataLink) -> list[BaseRoute]:
    """Return the routes of the link."""
    handlers = LinkRoutes(data)
    table: list[tuple[str, str, Handler]] = [
        ("POST", link.PATH + "/sessions", handlers.join),
        ("POST", _SESSION + "/commands", handlers.take),
        ("GET", _SESSION + "/sayings", handlers.hear),
        ("POST", _SESSION + "/ask", handlers.ask),
        ("GET", _SESSION + "/list", handlers.list),
        ("GET", _SESSION + "/read", handlers.read),
    ]
    return [Route(path, told(handler), methods=[method]) for method, path, handler in table]


def told(handler: Handler) -> Handler:
    """Answer what a handler raises so that the other end can raise the same."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except NoSession:
            failed = link.Failed(kind=link.NO_SESSION, message="there is no such session any more; join again")
        except Refused as error:
            problems = tuple(msgspec.structs.replace(one, code=one.code or error.code) for one in error.problems)
            failed = link.Failed(kind=f"{Refused.__name__}:{error.code}", message=str(error), problems=problems)
        except PortError as error:
            failed = link.Failed(kind=type(error).__name__, message=str(error))
        return answer(failed, status=link.FAILED)

    return handle


class LinkRoutes:
    """Handlers; each reads the request, calls the link and maps the answer."""

    def __init__(self, data: DataLink) -> None:
        """Hold the data side's end."""
        self._link = data

    async def join(self, request: Request) -> Response:
        """Begin a session."""
        return answer(await self._link.join(await read(request, link.Join)))

    async def take(self, request: Request) -> Response:
        """Take commands."""
        batch = await read(request, link.Batch)
        return answer(await self._link.take(request.path_params["session"], batch))

    async def hear(self, request: Request) -> Response:
        """Answer when there is something to hear."""
        wait_s = min(float(number(request, "wait", 0)), link.LISTEN_S)
        return answer(await self._link.heard(request.path_params["session"], number(request, "after", 0), wait_s=wait_s))

    async def ask(self, request: Request) -> Response:
        """Answer what is asked."""
        wish: Any = await read(request, link.Ask)  # type: ignore[arg-type] # a union of types is one for msgspec
        return answer(await self._link.ask(request.path_params["session"], wish))

    async def list(self, request: Request) -> Response:
        """Send what lies below a prefix, a line of JSON for many objects; a listing that was cut lacks its end."""
        recursive = request.query_params.get("recursive", "") == "true"
        session = request.path_params["session"]
        rows = self._link.list(session, _ref(request), recursive=recursive)
        first = await anext(rows)

        async def lines() -> AsyncIterator[bytes]:
            yield _line(first)
            async for more in rows:
                yield _line(more)
            yield b"null\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def read(self, request: Request) -> Response:
        """Send an object's bytes."""
        query = request.query_params
        offset = number(request, "offset", 0)
        count = number(request, "count", 0) if "count" in query else None
        chunks = self._link.read(request.path_params["session"], _ref(request), offset=offset, count=count)
        first = await anext(aiter(chunks), b"")

        async def body() -> AsyncIterator[bytes]:
            yield first
            async for chunk in chunks:
                yield chunk

        return StreamingResponse(body(), media_type="application/octet-stream")


def _ref(request: Request) -> ObjectRef:
    query = request.query_params
    return ObjectRef(remote=query.get("remote", ""), path=query.get("path", ""))


def _line(rows: list[ObjectInfo]) -> bytes:
    return _encode(rows) + b"\n"
