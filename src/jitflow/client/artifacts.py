"""Artifacts of workflows: their bytes, as they are stored."""

from __future__ import annotations

import re

from msgspec import Struct

from jitflow.client._calls import Group, S, Stream, stream
from jitflow.client._effects import Answer, Emit, Read, Request, Script
from jitflow.client._errors import Unreadable
from jitflow.client._requests import Listed, decode, tail
from jitflow.client._streams import opened

_FILE_NAME = re.compile(r'filename="([^"]*)"')
_MAX_DEPTH = 100


class Piece(Struct, frozen=True):
    """Some bytes of a file: its path below the artifact, in parts; a file's first piece is `first` and may be empty."""

    path: tuple[str, ...]
    data: bytes
    first: bool


class _Entry(Struct, frozen=True):
    """A name in a directory artifact."""

    name: str
    is_directory: bool = False


class Artifacts(Group[S]):
    """Artifacts of nodes, read in pieces."""

    @stream
    def read(
        self, workflow: str, node: str, artifact: str, *, namespace: str = "", inputs: bool = False, uid: str = ""
    ) -> Stream[bytes]:
        """Yield the bytes of an artifact that is a file. `uid`: of an archived workflow, instead of its name."""
        base = f"/{'input-' if inputs else ''}artifacts"
        path = tail(f"{base}-by-uid", uid, node, artifact) if uid else tail(base, self._in(namespace), workflow, node, artifact)
        return Stream(_bytes(_request(path)))

    @stream
    def walk(
        self,
        workflow: str,
        node: str,
        artifact: str,
        *,
        namespace: str = "",
        inputs: bool = False,
        uid: str = "",
        below: str = "",
    ) -> Stream[Piece]:
        """Yield the pieces of all files of an artifact, one file after the other; `below`: only this part of a directory."""
        kind, which = ("archived-workflows", uid) if uid else ("workflows", workflow)
        place = (self._in(namespace), kind, which, node, "inputs" if inputs else "outputs", artifact)
        return Stream(_walking(tail("/artifact-files", *place), tuple(part for part in below.split("/") if part), 0))


def _request(path: str) -> Request:
    return Request(method="GET", path=path, accept="application/json, */*;q=0.1", repeatable=True)


def _bytes(request: Request) -> Script[None]:
    yield from opened(request)
    while chunk := (yield Read()):
        yield Emit(chunk)


def _walking(base: str, path: tuple[str, ...], depth: int, *, directory: bool = False) -> Script[None]:
    url = tail(base, *path) + ("/" if directory else "")
    answer = yield from opened(_request(url))
    name = _file_name(answer)
    if name:
        yield from _pieces(path or (_safe(name),))
        return
    listing = b""
    while chunk := (yield Read()):
        listing += chunk
    if depth > _MAX_DEPTH:
        raise Unreadable(f"{url}: more than {_MAX_DEPTH} directories within each other")
    for entry in decode(listing, Listed[_Entry]).items or ():
        yield from _walking(base, (*path, _safe(entry.name)), depth + 1, directory=entry.is_directory)


def _pieces(path: tuple[str, ...]) -> Script[None]:
    yield Emit(Piece(path, b"", first=True))
    while chunk := (yield Read()):
        yield Emit(Piece(path, chunk, first=False))


def _file_name(answer: Answer) -> str:
    found = _FILE_NAME.search(answer.headers.get("content-disposition", ""))
    return found[1] if found else ""


def _safe(name: str) -> str:
    """Return a name that stays in its directory, whatever the server says."""
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise Unreadable(f"the server names a file {name!r}, which cannot be written")
    return name
