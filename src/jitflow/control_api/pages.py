"""The page of the API's descriptions, at `/docs`: three files that need no token, for they tell nothing of this server.

The page asks its reader for a token and fetches the descriptions with it; what it may load and whom it may call is said by a
content security policy that knows this server only.
"""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from jitflow.model.problems import Refused

_TYPES: Final = {
    "/docs": ("index.html", "text/html; charset=utf-8"),
    "/docs/docs.css": ("docs.css", "text/css; charset=utf-8"),
    "/docs/docs.js": ("docs.js", "text/javascript; charset=utf-8"),
}
PATHS: Final = frozenset(_TYPES)
"""Paths that need no token."""
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'"
)


def routes() -> list[BaseRoute]:
    """Return the table."""
    return [Route(path, _page, methods=["GET"]) for path in sorted(_TYPES)]


async def _page(request: Request) -> Response:
    name, media = _TYPES[request.url.path]
    headers = {"content-security-policy": _POLICY, "x-frame-options": "DENY"}
    return Response(_content(name), media_type=media, headers=headers)


@cache
def _content(name: str) -> bytes:
    """Return a file of the page: from the package, or from the source tree that it runs in."""
    packaged = files("jitflow") / "_web" / "docs" / name
    if packaged.is_file():
        return packaged.read_bytes()
    source = Path(__file__).parents[3] / "web" / "docs" / name
    if not source.is_file():
        raise Refused(f"this installation has no {name}", code="not_found")
    return source.read_bytes()
