"""Artifacts of workflows as files that can be read: from the primary where they are resident, else from their far stores."""

import asyncio
import contextlib
import posixpath
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import IO

from msgspec import Struct

from jitflow.app.ports import Engine
from jitflow.model import argo
from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.model.problems import Refused
from jitflow.ports.dataplane import DataView
from jitflow.ports.errors import ObjectMissing, Retryable
from jitflow.ports.storage import Reading
from jitflow.ports.store import RunRow

MAX_ENTRIES = 10_000
"""Names of a listing; a longer one says that it was cut."""
_CHUNK_BYTES = 256 * 1024


class Wanted(Struct, frozen=True, kw_only=True):
    """An artifact of a node, or a file or directory below it. `path` ends in a slash where only a directory is meant."""

    node: str
    name: str
    inputs: bool = False
    path: str = ""


class Entry(Struct, frozen=True, kw_only=True):
    """A name in a directory."""

    name: str
    size_bytes: int = 0
    is_directory: bool = False


class Directory(Struct, frozen=True, kw_only=True):
    """What lies in a directory, directories first; `truncated` when there is more."""

    entries: tuple[Entry, ...]
    truncated: bool = False


class File:
    """A file that can be read from any place."""

    def __init__(self, name: str, size_bytes: int) -> None:
        """Hold what is known before the first byte is read."""
        self.name = name
        self.size_bytes = size_bytes

    def read(self, offset: int = 0, count: int | None = None) -> AsyncGenerator[bytes]:
        """Yield the bytes from `offset` on, at most `count`."""
        raise NotImplementedError


class _Raw(File):
    """An artifact that stands in the manifest."""

    def __init__(self, name: str, data: bytes) -> None:
        super().__init__(name, len(data))
        self._data = data

    async def read(self, offset: int = 0, count: int | None = None) -> AsyncGenerator[bytes]:
        yield self._data[offset:] if count is None else self._data[offset : offset + count]


class _Object(File):
    """An object, read from its replica if it is there when the reading begins."""

    def __init__(
        self, ref: ObjectRef, size_bytes: int, storage: Reading, local: Path | None, near: ObjectRef | None = None
    ) -> None:
        super().__init__(posixpath.basename(ref.path), size_bytes)
        self._ref = near or ref
        self._storage = storage
        self._local = local

    async def read(self, offset: int = 0, count: int | None = None) -> AsyncGenerator[bytes]:
        file = await asyncio.to_thread(_open, self._local) if self._local is not None else None
        source = _read_file(file, offset, count) if file is not None else self._read_far(offset, count)
        async with aclosing(source) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _read_far(self, offset: int, count: int | None) -> AsyncGenerator[bytes]:
        chunks: AsyncIterator[bytes] = self._storage.read(self._ref, offset=offset, count=count)
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()


def _open(path: Path) -> IO[bytes] | None:
    """Return the open file, None if it was evicted a moment ago."""
    with contextlib.suppress(OSError):
        return path.open("rb")
    return None


async def _read_file(file: IO[bytes], offset: int, count: int | None) -> AsyncGenerator[bytes]:
    with file:
        file.seek(offset)
        left = count
        while left is None or left > 0:
            chunk = await asyncio.to_thread(file.read, _CHUNK_BYTES if left is None else min(left, _CHUNK_BYTES))
            if not chunk:
                return
            left = None if left is None else left - len(chunk)
            yield chunk


class Artifacts:
    """Finds artifacts in the status of workflows and opens them."""

    def __init__(self, engine: Engine, storage: Reading, view: DataView) -> None:
        """Hold the parts."""
        self._engine = engine
        self._storage = storage
        self._view = view

    async def open(self, row: RunRow, wanted: Wanted) -> File | Directory:
        """Return an artifact, or what lies below it.

        Raises:
            Refused: the workflow has no such artifact, it was deleted, or the path leaves it. ObjectMissing: it is not there.
        """
        check_path(wanted.path)
        workflow = await self._engine.fetch(row.uid)
        artifact = find(workflow, wanted) if workflow is not None else None
        if artifact is None:
            raise Refused(f"artifact not found: {wanted.name} of node {wanted.node}", code="no_artifact")
        if artifact.deleted:
            raise Refused(f"artifact {wanted.name} was deleted by artifact garbage collection", code="not_found")
        if artifact.raw is not None and not wanted.path:
            return _Raw(wanted.name, artifact.raw.data.encode())
        ref = await self._engine.locate(row.uid, artifact)
        if ref is None:
            raise Refused(f"artifact {wanted.name} lies in no store that can be read here", code="no_artifact")
        try:
            return await self._open(_below(ref, wanted.path))
        except ObjectMissing:
            if not (await self._view.whereabouts(ref)).freed_by:
                raise
            message = f"artifact {wanted.name} was handed on between steps and let go when it had been read; it is kept nowhere"
            raise Refused(message, code="not_found") from None

    async def _open(self, ref: ObjectRef) -> File | Directory:
        place = await self._view.whereabouts(ref)
        if place.local:
            local = Path(place.local)
            found = await asyncio.to_thread(_look, local, ref)
            if found is not None:
                return found if isinstance(found, Directory) else _Object(ref, found, self._storage, local)
        near = place.near
        if near is not None and not near.is_prefix:
            with contextlib.suppress(ObjectMissing, Retryable):
                return _Object(ref, (await self._storage.stat(near)).size_bytes, self._storage, None, near)
        if not ref.is_prefix:
            try:
                info = await self._storage.stat(ref)
                return _Object(ref, info.size_bytes, self._storage, None)
            except ObjectMissing:
                missing = ref
                ref = ObjectRef(remote=ref.remote, path=f"{ref.path}/")
                listing = await self._list(ref)
                if not listing.entries:
                    raise ObjectMissing(f"{missing}: there is no such object") from None
                return listing
        listing = await self._list(ref)
        if not listing.entries:
            raise ObjectMissing(f"{ref}: there is nothing below this prefix")
        return listing

    async def _list(self, ref: ObjectRef) -> Directory:
        entries: list[Entry] = []
        try:
            async for info in self._storage.list(ref):
                if len(entries) == MAX_ENTRIES:
                    return Directory(entries=_sorted(entries), truncated=True)
                entries.append(_entry(info))
        except ObjectMissing:
            return Directory(entries=())
        return Directory(entries=_sorted(entries))


def find(workflow: argo.Workflow, wanted: Wanted) -> argo.Artifact | None:
    """Return the artifact as the status of the workflow has it."""
    node = workflow.status.nodes.get(wanted.node) if workflow.status is not None else None
    side = None if node is None else node.inputs if wanted.inputs else node.outputs
    return next((artifact for artifact in side.artifacts if artifact.name == wanted.name), None) if side is not None else None


def check_path(path: str) -> None:
    """Refuse a path that leaves the artifact.

    Raises:
        Refused: it has an empty, `.` or `..` segment, a backslash or a control character.
    """
    parts = path.removesuffix("/").split("/") if path else []
    if any(part in {"", ".", ".."} for part in parts) or "\\" in path or any(ord(char) < 32 or ord(char) == 127 for char in path):
        raise Refused(f"path {path[:200]!r} is not valid: write names with one / between them, no . or ..")


def _below(ref: ObjectRef, path: str) -> ObjectRef:
    return ObjectRef(remote=ref.remote, path=f"{ref.path.rstrip('/')}/{path}") if path else ref


def _look(path: Path, ref: ObjectRef) -> Directory | int | None:
    """Return the size of a file, what lies in a directory, or None if it is not there (or is not what was asked for)."""
    try:
        if path.is_dir():
            found = sorted(path.iterdir())[: MAX_ENTRIES + 1]
            entries = [
                Entry(name=one.name, is_directory=one.is_dir(), size_bytes=one.stat().st_size) for one in found[:MAX_ENTRIES]
            ]
            return Directory(entries=_sorted(entries), truncated=len(found) > MAX_ENTRIES)
        return None if ref.is_prefix else path.stat().st_size
    except OSError:
        return None


def _entry(info: ObjectInfo) -> Entry:
    name = posixpath.basename(info.ref.path.rstrip("/"))
    return Entry(name=name, size_bytes=info.size_bytes, is_directory=info.ref.is_prefix)


def _sorted(entries: list[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: (not entry.is_directory, entry.name)))
