"""A Storage in memory, with faults on order, for tests of those who use one."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.ports.errors import Corrupt, FixRequest, ObjectMissing, PortError, RemoteUnknown, Retryable, SourceChanged, Stalled
from jitflow.ports.storage import Copied, Progress

PIECE_BYTES = 64 * 1024
"""Bytes that a read gives at once."""

PIECES = 4
"""A transfer tells its progress so often."""


@dataclass(kw_only=True)
class Script:
    """What goes wrong with one object, or how slowly it goes. Each fault happens `times` times, then no more.

    `error`: raised by every method. `rate_Bps`: bytes per second of its transfers. `stall`: its transfers stop after half of the
    bytes and end with `Stalled` after the storage's `stall_s`. `corrupt`: what arrives differs. `becomes`: its content from the
    middle of its next transfer on. `gate`: its transfers wait for it before they begin.
    """

    error: PortError | None = None
    rate_Bps: float | None = None
    stall: bool = False
    corrupt: bool = False
    becomes: bytes | None = None
    gate: asyncio.Event | None = None
    times: int = 1_000_000


@dataclass
class _Object:
    data: bytes
    number: int


@dataclass(kw_only=True)
class Transfers:
    """What was asked for, in order, and what is under way."""

    fetched: list[ObjectRef] = field(default_factory=list)
    stored: list[ObjectRef] = field(default_factory=list)
    looked_up: list[ObjectRef] = field(default_factory=list)
    parts: dict[ObjectRef, int] = field(default_factory=dict)
    running: int = 0
    most_running: int = 0


class FakeStorage:
    """Implements `jitflow.ports.storage.Storage` over a dictionary."""

    def __init__(self, remotes: Iterable[str] = ("far",), *, stall_s: float = 0.05) -> None:
        """Begin with empty remotes."""
        self._objects: dict[str, dict[str, _Object]] = {name: {} for name in remotes}
        self._scripts: dict[ObjectRef, Script] = {}
        self._stall_s = stall_s
        self._number = 0
        self.seen = Transfers()

    def put(self, ref: ObjectRef, data: bytes) -> None:
        """Place an object, or change it."""
        self._number += 1
        self._objects[ref.remote][ref.path] = _Object(data, self._number)

    def get(self, ref: ObjectRef) -> bytes | None:
        """Return an object's content, None if there is none."""
        found = self._objects[ref.remote].get(ref.path)
        return found.data if found else None

    def script(self, ref: ObjectRef, script: Script | None) -> None:
        """Order faults for an object (for a prefix: for the whole of it), or cancel them."""
        if script is None:
            self._scripts.pop(ref, None)
        else:
            self._scripts[ref] = script

    async def stat(self, ref: ObjectRef) -> ObjectInfo:
        """See `Storage.stat`."""
        await asyncio.sleep(0)
        self.seen.looked_up.append(ref)
        self._raise_scripted(ref)
        members = self._members(ref)
        if not members:
            raise ObjectMissing(f"{ref}: there is no such object")
        if not ref.is_prefix:
            return _info(ref, members[ref.path])
        version = "-".join(str(each.number) for each in members.values())
        return ObjectInfo(
            ref=ref, size_bytes=sum(len(each.data) for each in members.values()), count=len(members), version=version
        )

    async def stat_many(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, ObjectInfo | Exception]:
        """See `Storage.stat_many`."""
        found: dict[ObjectRef, ObjectInfo | Exception] = {}
        for ref in refs:
            try:
                found[ref] = await self.stat(ref)
            except PortError as error:
                found[ref] = error
        return found

    async def list(self, ref: ObjectRef, *, recursive: bool = False) -> AsyncIterator[ObjectInfo]:
        """See `Storage.list`."""
        await asyncio.sleep(0)
        prefix = ref if ref.is_prefix else ObjectRef(remote=ref.remote, path=f"{ref.path}/")
        self._raise_scripted(prefix)
        told: set[str] = set()
        for path, found in sorted(self._members(prefix).items()):
            head, slash, _ = path.removeprefix(prefix.path).partition("/")
            if recursive or not slash:
                yield _info(ObjectRef(remote=ref.remote, path=path), found)
            elif head not in told:
                told.add(head)
                yield ObjectInfo(ref=ObjectRef(remote=ref.remote, path=f"{prefix.path}{head}/"), size_bytes=0, count=0)

    async def fetch(
        self,
        info: ObjectInfo,
        target: Path | str,
        progress: Progress,
        *,
        parts: int = 1,
        kept: Path | None = None,
        scratch: str = "",
    ) -> ObjectInfo:
        """See `Storage.fetch`; nothing is ever on its way."""
        del scratch
        ref = info.ref
        self.seen.parts[ref] = parts
        self._raise_scripted(ref)
        self.seen.fetched.append(ref)
        before = await self.stat(ref)
        if info.version and info.version != before.version:
            raise SourceChanged(f"{ref}: it changed since it was looked up")
        read = {path: found.data for path, found in self._members(ref).items()}
        with _keeping(kept, before, progress) as (first, told):
            spoilt = await self._move(ref, before.size_bytes, told, first)
        if (await self.stat(ref)).version != before.version:
            raise SourceChanged(f"{ref}: it changed while it was read")
        if spoilt:
            raise Corrupt(f"{ref}: what arrived is not what the store describes")
        _write(Path(target), ref, read)
        return before

    async def read(self, ref: ObjectRef, *, offset: int = 0, count: int | None = None) -> AsyncIterator[bytes]:
        """See `Storage.read`."""
        await self.stat(ref)
        data = self.get(ref) or b""
        wanted = data[offset:] if count is None else data[offset : offset + count]
        for at in range(0, len(wanted), PIECE_BYTES):
            await asyncio.sleep(0)
            yield wanted[at : at + PIECE_BYTES]

    async def store(self, source: Path, ref: ObjectRef, progress: Progress) -> ObjectInfo:
        """See `Storage.store`."""
        self._raise_scripted(ref)
        if not ref.path.strip("/"):
            raise FixRequest(f"{ref}: name an object or a prefix, not the whole remote")
        self._members(ref)
        self.seen.stored.append(ref)
        sent = _read(source, ref)
        size = sum(len(data) for data in sent.values())
        if await self._move(ref, size, progress):
            raise Corrupt(f"{ref}: the store has something else")
        for path, data in sent.items():
            self.put(ObjectRef(remote=ref.remote, path=path), data)
        return await self.stat(ref) if sent else ObjectInfo(ref=ref, size_bytes=0, count=0)

    async def verify(self, source: Path, ref: ObjectRef) -> ObjectInfo | None:
        """See `Storage.verify`."""
        sent = _read(source, ref)
        same = bool(sent) and all(self.get(ObjectRef(remote=ref.remote, path=path)) == data for path, data in sent.items())
        return await self.stat(ref) if same else None

    async def copy(self, info: ObjectInfo, target: ObjectRef, progress: Progress, *, parts: int = 1) -> Copied:
        """See `Copying.copy`; faults of either name happen."""
        self._raise_scripted(target)
        self.seen.fetched.append(info.ref)
        before = await self.stat(info.ref)
        if info.version and info.version != before.version:
            raise SourceChanged(f"{info.ref}: it changed since it was looked up")
        read = {path.removeprefix(info.ref.path): found.data for path, found in self._members(info.ref).items()}
        spoilt = await self._move(info.ref, before.size_bytes, progress)
        if (await self.stat(info.ref)).version != before.version:
            raise SourceChanged(f"{info.ref}: it changed while it was read")
        if spoilt:
            raise Corrupt(f"{target}: the store has something else")
        for name, data in read.items():
            self.put(ObjectRef(remote=target.remote, path=target.path + name), data)
        return Copied(read=before, written=await self.stat(target))

    async def delete(self, ref: ObjectRef) -> None:
        """See `Storage.delete`."""
        await asyncio.sleep(0)
        self._raise_scripted(ref)
        if not ref.path.strip("/"):
            raise FixRequest(f"{ref}: name an object or a prefix, not the whole remote")
        for path in self._members(ref):
            del self._objects[ref.remote][path]

    async def test(self, remote: str) -> None:
        """See `Storage.test`."""
        await asyncio.sleep(0)
        self._members(ObjectRef(remote=remote, path=""))

    def _members(self, ref: ObjectRef) -> dict[str, _Object]:
        if ref.remote not in self._objects:
            raise RemoteUnknown(f"{ref}: no remote named {ref.remote!r} is configured")
        if {"", ".", ".."} & set(ref.path.removesuffix("/").split("/")) and ref.path:
            raise FixRequest(f"{ref}: `.`, `..` and `//` are not allowed in a path")
        objects = self._objects[ref.remote]
        if ref.is_prefix:
            return {path: objects[path] for path in sorted(objects) if path.startswith(ref.path)}
        return {ref.path: objects[ref.path]} if ref.path in objects else {}

    def _raise_scripted(self, ref: ObjectRef) -> None:
        script = self._scripts.get(ref)
        if script and script.error and script.times > 0:
            script.times -= 1
            raise script.error

    async def _move(self, ref: ObjectRef, size: int, progress: Progress, first: int = 1) -> bool:
        """Pass the time that a transfer takes from its piece `first` on; return whether the bytes were spoilt on the way."""
        script = self._scripts.get(ref, Script())
        self.seen.running += 1
        self.seen.most_running = max(self.seen.most_running, self.seen.running)
        try:
            if script.gate:
                await script.gate.wait()
            for piece in range(first, PIECES + 1):
                await asyncio.sleep(size / PIECES / script.rate_Bps if script.rate_Bps else 0)
                progress(size * piece // PIECES)
                if piece == PIECES // 2:
                    await self._halfway(ref, script)
        finally:
            self.seen.running -= 1
        spoilt = script.corrupt and script.times > 0
        script.times -= spoilt
        return spoilt

    async def _halfway(self, ref: ObjectRef, script: Script) -> None:
        if script.becomes is not None:
            self.put(ref, script.becomes)
            script.becomes = None
        if script.stall and script.times > 0:
            script.times -= 1
            await asyncio.sleep(self._stall_s)
            raise Stalled(f"{ref}: nothing moved for {self._stall_s:g} s")


@contextmanager
def _keeping(kept: Path | None, info: ObjectInfo, progress: Progress) -> Iterator[tuple[int, Progress]]:
    """Give the piece to begin with, and a progress to tell; what has come is kept when the transfer is interrupted."""
    note = kept / info.version if kept else None
    done = int(note.read_text()) if note and note.exists() else 0

    def tell(bytes_done: int) -> None:
        nonlocal done
        done = bytes_done
        progress(bytes_done)

    tell(done)
    try:
        yield (done * PIECES // info.size_bytes + 1 if done else 1), tell
    except (asyncio.CancelledError, Retryable):
        if note:
            note.parent.mkdir(exist_ok=True)
            note.write_text(str(done))
        raise
    if kept:
        shutil.rmtree(kept, ignore_errors=True)


def _info(ref: ObjectRef, found: _Object) -> ObjectInfo:
    md5 = hashlib.md5(found.data, usedforsecurity=False).hexdigest()
    return ObjectInfo(ref=ref, size_bytes=len(found.data), hashes={"md5": md5}, version=str(found.number))


def _write(target: Path, ref: ObjectRef, read: dict[str, bytes]) -> None:
    for path, data in read.items():
        file = target / path.removeprefix(ref.path) if ref.is_prefix else target
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def _read(source: Path, ref: ObjectRef) -> dict[str, bytes]:
    if source.is_dir() != ref.is_prefix or not source.exists():
        raise FixRequest(f"{source} does not fit {ref}")
    if not ref.is_prefix:
        return {ref.path: source.read_bytes()}
    return {f"{ref.path}{file.relative_to(source)}": file.read_bytes() for file in sorted(source.rglob("*")) if file.is_file()}
