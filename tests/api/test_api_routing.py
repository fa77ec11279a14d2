"""Paths to handlers: the first route of the table that fits, as Starlette finds it."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Match, Route

from jitflow.control_api.routing import Dispatcher
from jitflow.model.problems import Refused

pytestmark = pytest.mark.pure

PATHS = (
    "/a", "/a/", "/a/{x}", "/a/b", "/a/{x}/c", "/a/b/{y}", "/{p}/b/c", "/a/{x}/{y}/d", "/files/{x}", "/files/{x}/{rest:path}",
    "/a/{rest:path}",
)  # fmt: skip


async def told(request: Request) -> Response:
    return PlainTextResponse("ok")


TABLE = [Route(path, told, methods=["GET"]) for path in PATHS] + [Route("/a/b", told, methods=["POST"])]


@given(
    st.lists(st.sampled_from(["a", "b", "c", "d", "files", "", "x"]), min_size=1, max_size=5).map(
        lambda parts: "/" + "/".join(parts)
    ),
    st.sampled_from(["GET", "POST", "PUT"]),
)
def test_the_same_route_is_found_as_starlette_finds(path: str, method: str):
    seen: list[tuple[str, dict[str, str]]] = []

    async def answer(scope: dict[str, object]) -> None:
        async def receive() -> dict[str, str]:
            return {"type": "http.request"}

        async def send(message: object) -> None:
            pass

        await dispatcher(scope, receive, send)  # pyright: ignore[reportArgumentType]

    dispatcher = Dispatcher(TABLE, lambda route: lambda scope: seen.append((route.path, scope["path_params"])))
    scope = {"type": "http", "path": path, "method": method, "headers": [], "query_string": b"", "root_path": ""}
    matches = [(route, *route.matches(dict(scope))) for route in TABLE]
    full = next(((route.path, child["path_params"]) for route, match, child in matches if match is Match.FULL), None)
    if full is not None:
        asyncio.run(answer(scope))
        assert seen == [full]
    else:
        known = any(match is Match.PARTIAL for _, match, _ in matches)
        with pytest.raises(HTTPException if known else Refused):
            asyncio.run(answer(scope))
