"""The routes of files and folders: `/data/v1/content`, `/exists`, `/folders`, `/files`, `/multipart`."""

import posixpath
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, cast
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from jitflow.app.files import FileService
from jitflow.data_api.answers import answer, read, reference
from jitflow.data_api.bodies import CopyBody, LinkBody, RefBody
from jitflow.model.data import ObjectInfo
from jitflow.model.problems import Refused

_CONTENT = "/data/v1/content"
_PARTS = "/data/v1/multipart"
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_DIGITS = 18


class FileRoutes:
    """Handlers; each reads the request, calls one use-case and maps the answer."""

    def __init__(self, files: FileService) -> None:
        """Hold the use-cases."""
        self._files = files

    def routes(self) -> list[BaseRoute]:
        """Return the table."""
        table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("GET", _CONTENT, self.download),
            ("PUT", _CONTENT, self.upload),
            ("DELETE", _CONTENT, self.delete),
            ("GET", "/data/v1/exists", self.exists),
            ("POST", "/data/v1/folders", self.make_folder),
            ("DELETE", "/data/v1/folders", self.remove_folder),
            ("POST", "/data/v1/files/copy", self.copy),
            ("POST", "/data/v1/files/move", self.move),
            ("POST", "/data/v1/files/link", self.link),
            ("POST", _PARTS, self.begin),
            ("GET", _PARTS + "/{id}", self.upload_state),
            ("DELETE", _PARTS + "/{id}", self.abort),
            ("PUT", _PARTS + "/{id}/{number}", self.put_part),
            ("POST", _PARTS + "/{id}/complete", self.complete),
        ]
        return [Route(path, handler, methods=[method]) for method, path, handler in table]

    async def download(self, request: Request) -> Response:
        """Send a file, or a range of it."""
        info = await self._files.stat(reference(request))
        headers = _headers_of(info)
        given = request.headers
        tag = headers["etag"]
        if (match := given.get("if-match")) and not _matches(match, tag):
            raise HTTPException(412, f"{info.ref} is another version: its ETag is {tag}")
        if (match := given.get("if-none-match")) and _matches(match, tag):
            return Response(status_code=304, headers=headers)
        whole = given.get("if-range") not in {None, tag}
        span = None if whole else _span(given.get("range", ""), info.size_bytes)
        first, last, status = (0, info.size_bytes - 1, 200) if span is None else (*span, 206)
        if span is not None:
            if first > last:
                return Response(status_code=416, headers={**headers, "content-range": f"bytes */{info.size_bytes}"})
            headers["content-range"] = f"bytes {first}-{last}/{info.size_bytes}"
        headers["content-length"] = str(last - first + 1)
        if request.method == "HEAD" or last < first:
            return Response(status_code=status, headers=headers)
        chunks = await _begun(self._files.read(info, first, last - first + 1, namespace=_payer(request)))
        return StreamingResponse(chunks, status_code=status, headers=headers)

    async def upload(self, request: Request) -> Response:
        """Store the body as a file."""
        stored = await self._files.put(
            reference(request),
            request.stream(),
            new=request.headers.get("if-none-match") == "*",
            namespace=_payer(request),
            **_announced(request),
        )
        return answer(stored)

    async def delete(self, request: Request) -> Response:
        """Delete a file."""
        await self._files.delete(reference(request))
        return answer({})

    async def exists(self, request: Request) -> Response:
        """Say whether a file or folder is there."""
        return answer(await self._files.exists(reference(request)))

    async def make_folder(self, request: Request) -> Response:
        """Make a folder."""
        return answer(await self._files.make_folder((await read(request, RefBody)).ref))

    async def remove_folder(self, request: Request) -> Response:
        """Remove a folder."""
        recursive = request.query_params.get("recursive", "").lower() in {"1", "true"}
        await self._files.remove_folder(reference(request), recursive=recursive)
        return answer({})

    async def copy(self, request: Request) -> Response:
        """Copy a file."""
        body = await read(request, CopyBody)
        return answer(await self._files.copy(body.source, body.destination, namespace=body.namespace))

    async def move(self, request: Request) -> Response:
        """Move a file."""
        body = await read(request, CopyBody)
        return answer(await self._files.copy(body.source, body.destination, move=True, namespace=body.namespace))

    async def link(self, request: Request) -> Response:
        """Make a link by which anybody can read a file."""
        body = await read(request, LinkBody)
        return answer(await self._files.link(body.ref, body.expires_s))

    async def begin(self, request: Request) -> Response:
        """Begin an upload in parts."""
        return answer(self._files.begin((await read(request, RefBody)).ref))

    async def upload_state(self, request: Request) -> Response:
        """Say which parts have arrived."""
        return answer(self._files.arrivals.get(request.path_params["id"]))

    async def abort(self, request: Request) -> Response:
        """Forget an upload and its parts."""
        await self._files.arrivals.end(request.path_params["id"])
        return answer({})

    async def put_part(self, request: Request) -> Response:
        """Take a part."""
        number = request.path_params["number"]
        if not number.isascii() or not number.isdigit() or len(number) > _DIGITS:
            raise Refused(f"a part's number is {number[:40]!r}; write 1, 2, …")
        upload = request.path_params["id"]
        return answer(await self._files.put_part(upload, int(number), request.stream(), **_announced(request)))

    async def complete(self, request: Request) -> Response:
        """Store all parts as one file."""
        return answer(await self._files.complete(request.path_params["id"], namespace=_payer(request)))


def _payer(request: Request) -> str:
    """Return the namespace that pays for what moves."""
    return request.query_params.get("namespace", "default")


def _announced(request: Request) -> dict[str, Any]:
    """Return what the headers say of the body."""
    length = request.headers.get("content-length", "")
    expected = int(length) if length.isascii() and length.isdigit() and len(length) <= _DIGITS else None
    return {"expected_bytes": expected, "md5": request.headers.get("content-md5", "")}


def _headers_of(info: ObjectInfo) -> dict[str, str]:
    tag = next((info.hashes[kind] for kind in ("md5", "sha1", "sha256") if info.hashes.get(kind)), info.version)
    name = posixpath.basename(info.ref.path)
    plain = re.sub(r'[^ -~]|["\\]', "_", name)
    return {
        "etag": f'"{tag}"',
        "accept-ranges": "bytes",
        "content-type": "application/octet-stream",
        "content-disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='', errors='replace')}",
        "cache-control": "no-cache",
    }


def _matches(header: str, tag: str) -> bool:
    return header.strip() == "*" or tag in {one.strip().removeprefix("W/") for one in header.split(",")}


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


async def _begun(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Return the chunks when the first is here: what cannot be read is told by an error, and not by an answer that is cut off."""
    generator = cast("Any", chunks)
    try:
        head = await anext(chunks, b"")
    except BaseException:
        await generator.aclose()
        raise

    async def all_of() -> AsyncIterator[bytes]:
        async with aclosing(generator):
            yield head
            async for chunk in chunks:
                yield chunk

    return all_of()
