"""Argo Server's artifact paths: files are streamed, directories are shown as lists of links."""

import html
import mimetypes
import posixpath
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from jitflow.access import Permission
from jitflow.app.artifacts import Directory, Entry, File, Wanted
from jitflow.app.service import Service
from jitflow.control_api.guards import require
from jitflow.control_api.workflows import answer
from jitflow.model.problems import Refused
from jitflow.ports.store import RunRow

_HEADERS: Final = {
    "Content-Security-Policy": (
        "sandbox allow-same-origin; base-uri 'none'; default-src 'none'; img-src 'self'; style-src 'self' 'unsafe-inline'"
    ),
    "X-Frame-Options": "SAMEORIGIN",
}
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")
_TEXT: Final = frozenset({".log", ".md", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".sh"})
_SNIFFED_BYTES: Final = 512
_NODE: Final = "/{node}/{artifact}"
_KINDS: Final = ("workflows", "archived-workflows")
_SIDES: Final = ("inputs", "outputs")


class ArtifactRoutes:
    """Handlers; each finds one artifact and sends it."""

    def __init__(self, service: Service) -> None:
        """Hold the use-cases."""
        self._service = service

    def routes(self) -> list[BaseRoute]:
        """Return the table."""
        one = "/artifact-files/{namespace}/{kind}/{id}/{node}/{side}/{artifact}"
        table: list[tuple[str, Callable[[Request], Awaitable[Any]]]] = [
            (one, self.file),
            (one + "/{path:path}", self.file),
            ("/artifacts/{namespace}/{name}" + _NODE, self.output),
            ("/input-artifacts/{namespace}/{name}" + _NODE, self.input),
            ("/artifacts-by-uid/{uid}" + _NODE, self.output),
            ("/input-artifacts-by-uid/{uid}" + _NODE, self.input),
        ]
        return [Route(path, handler, methods=["GET", "HEAD"]) for path, handler in table]

    async def file(self, request: Request) -> Response:
        """Send an artifact, or a file or directory below it."""
        params = request.path_params
        kind, side = params["kind"], params["side"]
        if kind not in _KINDS or side not in _SIDES:
            raise Refused(
                f"request path is not valid, expected field at index 3 to be 'workflows' or 'archived-workflows' and at index 6 "
                f"'inputs' or 'outputs', got {kind[:40]!r} and {side[:40]!r}"
            )
        uid = params["id"] if kind == "archived-workflows" else ""
        row = self._service.of_uid(uid, params["namespace"]) if uid else self._service.find(params["namespace"], params["id"])
        return await self._send(request, row, inputs=side == "inputs", path=params.get("path", ""))

    async def output(self, request: Request) -> Response:
        """Send an output artifact."""
        return await self._send(request, self._row(request), inputs=False)

    async def input(self, request: Request) -> Response:
        """Send an input artifact."""
        return await self._send(request, self._row(request), inputs=True)

    def _row(self, request: Request) -> RunRow:
        params = request.path_params
        if "uid" in params:
            row = self._service.of_uid(params["uid"])
            require(request, Permission.ARTIFACTS_READ, row.namespace)
            return row
        return self._service.find(params["namespace"], params["name"])

    async def _send(self, request: Request, row: RunRow, *, inputs: bool, path: str = "") -> Response:
        wanted = Wanted(node=request.path_params["node"], name=request.path_params["artifact"], inputs=inputs, path=path)
        found = await self._service.artifacts.open(row, wanted)
        if isinstance(found, File):
            return await _file(request, found)
        if "application/json" in request.headers.get("accept", ""):
            return answer({"items": found.entries, "truncated": found.truncated})
        if not request.url.path.endswith("/"):
            # The links of the list are relative to the directory.
            return RedirectResponse(f"{posixpath.basename(quote(request.url.path))}/", status_code=307, headers=_HEADERS)
        return Response(_page(found), media_type="text/html; charset=utf-8", headers=_HEADERS)


async def _file(request: Request, file: File) -> Response:
    headers = {**_HEADERS, "Content-Disposition": _disposition(file.name), "Accept-Ranges": "bytes"}
    media = await _media_type(file)
    first, last, status = 0, file.size_bytes - 1, 200
    span = _span(request.headers.get("range", ""), file.size_bytes)
    if span is not None:
        first, last = span
        status = 206
        headers["Content-Range"] = f"bytes {first}-{last}/{file.size_bytes}"
        if first > last:
            headers["Content-Range"] = f"bytes */{file.size_bytes}"
            return Response(status_code=416, headers=headers)
    count = last - first + 1
    headers["Content-Length"] = str(count)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=media)
    return StreamingResponse(_chunks(file, first, count), status_code=status, headers=headers, media_type=media)


async def _chunks(file: File, first: int, count: int) -> AsyncIterator[bytes]:
    if count:
        async with aclosing(file.read(first, count)) as chunks:
            async for chunk in chunks:
                yield chunk


def _span(header: str, size: int) -> tuple[int, int] | None:
    """Return the first and last byte of a Range header (first > last: nothing of it is there), None for all."""
    found = _RANGE.fullmatch(header.strip())
    if found is None or not (found[1] or found[2]):
        return None  # several ranges, or another unit: all may be sent
    if not found[1]:
        return max(size - int(found[2]), 0), size - 1 if int(found[2]) else -1
    first = int(found[1])
    last = min(int(found[2]), size - 1) if found[2] else size - 1
    return (first, last) if first < size else (size, size - 1)


async def _media_type(file: File) -> str:
    """Return the type that the name tells, else text if the file begins with nothing but text."""
    extension = posixpath.splitext(file.name)[1].lower()
    if extension in _TEXT:
        return "text/plain; charset=utf-8"
    guessed, packed = mimetypes.guess_type(file.name)
    if packed is not None:
        return "application/gzip" if packed == "gzip" else "application/octet-stream"
    if guessed is not None:
        return f"{guessed}; charset=utf-8" if guessed.startswith("text/") else guessed
    head = b"".join([chunk async for chunk in _chunks(file, 0, min(file.size_bytes, _SNIFFED_BYTES))])
    return "text/plain; charset=utf-8" if _is_text(head) else "application/octet-stream"


def _is_text(head: bytes) -> bool:
    if any(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= _SNIFFED_BYTES - 4  # a character that was cut
    return True


def _disposition(name: str) -> str:
    """Return the header with the file's name; one with odd characters in both forms that browsers know."""
    plain = re.sub(r'[^ -~]|["\\]', "_", name)
    return f'filename="{plain}"' if plain == name else f"filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _page(found: Directory) -> bytes:
    rows = "".join(f"<li>{_link(entry)}</li>\n" for entry in found.entries)
    more = "<p>There is more: only the first names are shown.</p>\n" if found.truncated else ""
    return f'<html><body><ul>\n<li><a href="../">..</a></li>\n{rows}</ul>\n{more}</body></html>\n'.encode(errors="replace")


def _link(entry: Entry) -> str:
    slash = "/" if entry.is_directory else ""
    return f'<a href="./{quote(entry.name, safe="", errors="replace")}{slash}">{html.escape(entry.name)}{slash}</a>'
