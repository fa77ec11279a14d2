"""Far stores and the tool that reaches them, with latency, cuts, stalls, errors by class and wrong bytes."""

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from msgspec import Struct

from benchmark.simulate.files import HEAD_BYTES, NOTE, used_bytes, write_file
from benchmark.simulate.world import Life, World
from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.ports.errors import (
    AccessRefused,
    Busy,
    Corrupt,
    DiskFull,
    FixRequest,
    ObjectMissing,
    PortError,
    RemoteUnknown,
    SourceChanged,
    Stalled,
    Unreachable,
)
from jitflow.ports.storage import Progress

PIECES = 3
STALL_S = 5.0
LEFT = b"LEFT"
"""What an upload leaves that has failed at its end; nobody has written it."""


class Blob(Struct, frozen=True, kw_only=True):
    """An object: what it begins with, its size, and a number that is another one after each change."""

    data: bytes
    size: int
    number: int


class FarStores:
    """What lies far away; it outlives the process."""

    def __init__(self, remotes: Sequence[str] = ("far", "out")) -> None:
        self.objects: dict[str, dict[str, Blob]] = {name: {} for name in remotes}
        self._number = 0

    def put(self, ref: ObjectRef, data: bytes, size: int | None = None) -> None:
        """Write an object."""
        self._number += 1
        self.objects[ref.remote][ref.path] = Blob(data=data, size=len(data) if size is None else size, number=self._number)

    def find(self, ref: ObjectRef) -> dict[str, Blob]:
        """Return what is there by path: one object, or all below a prefix."""
        if ref.remote not in self.objects:
            raise RemoteUnknown(f"{ref}: no remote named {ref.remote!r} is configured")
        if ref.path and {"", ".", ".."} & set(ref.path.removesuffix("/").split("/")):
            raise FixRequest(f"{ref}: `.`, `..` and `//` are not allowed in a path")
        objects = self.objects[ref.remote]
        if ref.is_prefix:
            return {path: objects[path] for path in sorted(objects) if path.startswith(ref.path)}
        return {ref.path: objects[ref.path]} if ref.path in objects else {}


class SimStorage:
    """Implements `Storage` for one process."""

    def __init__(self, world: World, life: Life, stores: FarStores) -> None:
        self._world = world
        self._life = life
        self._stores = stores
        self.fetching: set[ObjectRef] = set()
        self._count = 0
        self.before_fetch: Callable[[ObjectRef], None] = lambda ref: None
        self.after_write: Callable[[], None] = lambda: None

    # -- what goes wrong ---------------------------------------------------------------------------------------------------

    def _trouble(self, ref: ObjectRef, *, moving: bool = False) -> None:
        """Raise what goes wrong with a call now."""
        world = self._world
        kinds = ("link down", "busy", "refused", *(("cut",) if moving else ()))
        for kind in kinds:
            if world.plan.takes(kind, world.now):
                world.injected[kind] += 1
                raise _error(kind, ref)

    async def _stall(self, ref: ObjectRef) -> None:
        if self._world.plan.takes("stall", self._world.now):
            self._world.injected["stall"] += 1
            await asyncio.sleep(STALL_S)
            raise Stalled(f"{ref}: nothing moved for {STALL_S:g} s")

    def _pace(self, size: int) -> float:
        slow = self._world.plan.takes("slow link", self._world.now)
        if slow is not None:
            self._world.injected["slow link"] += 1
        return 0.2 + size / PIECES / (2e4 if slow is not None else 2e6)

    # -- looking -----------------------------------------------------------------------------------------------------------

    async def stat(self, ref: ObjectRef) -> ObjectInfo:
        return await self._world.effect(self._life, f"far.stat {ref}", lambda: self._stat(ref), 0.1)

    def _stat(self, ref: ObjectRef) -> ObjectInfo:
        self._trouble(ref)
        return self._info(ref)

    def _info(self, ref: ObjectRef) -> ObjectInfo:
        found = self._stores.find(ref)
        if not found:
            raise ObjectMissing(f"{ref}: there is no such object")
        if not ref.is_prefix:
            return info_of(ref, found[ref.path])
        version = "-".join(str(each.number) for each in found.values())
        return ObjectInfo(ref=ref, size_bytes=sum(one.size for one in found.values()), count=len(found), version=version)

    async def stat_many(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, ObjectInfo | Exception]:
        asked = tuple(refs)
        names = " ".join(map(str, asked[:3]))
        return await self._world.effect(self._life, f"far.stat {names}", lambda: self._stat_all(asked), 0.1)

    def _stat_all(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, ObjectInfo | Exception]:
        answers: dict[ObjectRef, ObjectInfo | Exception] = {}
        for ref in refs:
            try:
                answers[ref] = self._stat(ref)
            except PortError as error:
                answers[ref] = error
        return answers

    async def list(self, ref: ObjectRef, *, recursive: bool = False) -> AsyncIterator[ObjectInfo]:
        prefix = ref if ref.is_prefix else ObjectRef(remote=ref.remote, path=f"{ref.path}/")
        found = await self._world.effect(self._life, f"far.list {ref}", lambda: self._stores.find(prefix), 0.1)
        told: set[str] = set()
        for path, blob in found.items():
            head, slash, _ = path.removeprefix(prefix.path).partition("/")
            if recursive or not slash:
                yield info_of(ObjectRef(remote=ref.remote, path=path), blob)
            elif head not in told:
                told.add(head)
                yield ObjectInfo(ref=ObjectRef(remote=ref.remote, path=f"{prefix.path}{head}/"), size_bytes=0, count=0)

    # -- from far ----------------------------------------------------------------------------------------------------------

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
        ref = info.ref
        self.before_fetch(ref)
        if ref in self.fetching:
            self._world.never(f"{ref} is fetched twice at once")
        self.fetching.add(ref)
        self._count += 1
        partial = Path(scratch, f"far-{self._life.number}-{self._count}") if scratch else Path(target)
        try:
            return await self._fetch(info, partial, Path(target), progress, kept)
        except BaseException:
            if scratch:
                partial.unlink(missing_ok=True)
            raise
        finally:
            self.fetching.discard(ref)

    async def _fetch(self, info: ObjectInfo, partial: Path, target: Path, progress: Progress, kept: Path | None) -> ObjectInfo:
        ref = info.ref
        before = await self.stat(ref)
        if info.version and info.version != before.version:
            raise SourceChanged(f"{ref}: it changed since it was looked up")
        first = self._begin(before, kept, progress)
        for piece in range(first, PIECES):
            await asyncio.sleep(self._pace(before.size_bytes))
            await self._stall(ref)
            wrong = await self._world.effect(
                self._life, f"far.fetch {ref} {piece}", lambda piece=piece: self._piece(before, partial, target, kept, piece)
            )
            if wrong:
                raise Corrupt(f"{ref}: what arrived is not what the store describes")
            progress(before.size_bytes * (piece + 1) // PIECES)
        return before

    def _begin(self, info: ObjectInfo, kept: Path | None, progress: Progress) -> int:
        """Return the piece to begin with, of an object of which something may have come before."""
        if kept is None:
            return 0
        note = kept / NOTE
        if note.exists():
            version, done = json.loads(note.read_text())
            if version == info.version:
                progress(info.size_bytes * done // PIECES)
                return int(done)
            shutil.rmtree(kept)
        return 0

    def _piece(self, info: ObjectInfo, partial: Path, target: Path, kept: Path | None, piece: int) -> bool:
        """Write a piece of an object; return whether the last one shows that what has come is wrong."""
        ref, last = info.ref, piece == PIECES - 1
        self._trouble(ref, moving=True)
        if self._world.plan.takes("disk full", self._world.now):
            self._world.injected["disk full"] += 1
            raise DiskFull(f"{target}: no space left on device")
        if last and self._world.plan.takes("source changed", self._world.now):
            self._world.injected["source changed"] += 1
            for path, blob in self._stores.find(ref).items():
                self._stores.put(ObjectRef(remote=ref.remote, path=path), blob.data, blob.size)
        wrong = last and self._world.plan.takes("wrong bytes", self._world.now) is not None
        if kept is not None:
            os.makedirs(kept, exist_ok=True)
            with open(kept / "data", "ab") as file:
                file.truncate(info.size_bytes)
            (kept / NOTE).write_text(json.dumps([info.version, min(piece + 1, PIECES - 1)]))
        elif not last:
            where = partial / "part" if ref.is_prefix else partial
            write_file(where, b"", info.size_bytes * (piece + 1) // PIECES)
        if last:
            self._finish(info, partial, kept, wrong=wrong)
            if partial != target and not wrong:
                os.makedirs(target.parent, exist_ok=True)
                os.replace(partial, target)
        self.after_write()
        return wrong

    def _finish(self, info: ObjectInfo, target: Path, kept: Path | None, *, wrong: bool) -> None:
        ref = info.ref
        found = self._stores.find(ref)
        if kept is not None:
            shutil.rmtree(kept)
        if self._info(ref).version != info.version:
            raise SourceChanged(f"{ref}: it changed while it was read")
        if ref.is_prefix and target.is_dir():
            shutil.rmtree(target)
        if wrong:
            self._world.injected["wrong bytes"] += 1
        for path, blob in found.items():
            file = target / path.removeprefix(ref.path) if ref.is_prefix else target
            write_file(file, b"WRONG" if wrong else blob.data, blob.size)

    async def read(self, ref: ObjectRef, *, offset: int = 0, count: int | None = None) -> AsyncIterator[bytes]:
        await self.stat(ref)
        blob = self._stores.find(ref)[ref.path]
        whole = blob.data + bytes(blob.size - len(blob.data))
        yield whole[offset:] if count is None else whole[offset : offset + count]

    # -- to far ------------------------------------------------------------------------------------------------------------

    async def store(self, source: Path, ref: ObjectRef, progress: Progress) -> ObjectInfo:
        self._check(ref)
        files = _files(source, ref)
        size = sum(size for _, size in files.values())
        for piece in range(PIECES):
            await asyncio.sleep(self._pace(size))
            await self._stall(ref)
            await self._world.effect(self._life, f"far.store {ref} {piece}", lambda: self._trouble(ref, moving=True))
            progress(size * (piece + 1) // PIECES)
        return await self._world.effect(self._life, f"far.stored {ref}", lambda: self._stored(source, ref, files))

    def _check(self, ref: ObjectRef) -> None:
        if not ref.path.strip("/"):
            raise FixRequest(f"{ref}: name an object or a prefix, not the whole remote")
        self._stores.find(ref)

    def _stored(self, source: Path, ref: ObjectRef, files: dict[str, tuple[bytes, int]]) -> ObjectInfo:
        if _files(source, ref) != files:
            self._world.never(f"{source} changed while it was sent to {ref}")
        wrong = self._world.plan.takes("wrong bytes", self._world.now)
        for path, (data, size) in files.items():
            self._stores.put(ObjectRef(remote=ref.remote, path=path), LEFT if wrong else data, size)
        if wrong is not None:
            self._world.injected["wrong bytes"] += 1
            raise Corrupt(f"{ref}: the store has something else")
        return self._info(ref) if files else ObjectInfo(ref=ref, size_bytes=0, count=0)

    async def verify(self, source: Path, ref: ObjectRef) -> ObjectInfo | None:
        return await self._world.effect(self._life, f"far.verify {ref}", lambda: self._verified(source, ref), 0.1)

    def _verified(self, source: Path, ref: ObjectRef) -> ObjectInfo | None:
        self._trouble(ref)
        files, found = _files(source, ref), self._stores.find(ref)
        same = bool(files) and all(path in found and (found[path].data, found[path].size) == one for path, one in files.items())
        return self._info(ref) if same else None

    async def delete(self, ref: ObjectRef) -> None:
        self._check(ref)
        await self._world.effect(self._life, f"far.delete {ref}", lambda: self._delete(ref))

    def _delete(self, ref: ObjectRef) -> None:
        self._trouble(ref)
        for path in self._stores.find(ref):
            del self._stores.objects[ref.remote][path]

    async def test(self, remote: str) -> None:
        ref = ObjectRef(remote=remote, path="")
        await self._world.effect(self._life, f"far.test {remote}", lambda: self._stores.find(ref))


def info_of(ref: ObjectRef, blob: Blob) -> ObjectInfo:
    """Return what a store says of an object; its hash is of what it begins with and of its size."""
    digest = hashlib.md5(blob.data + str(blob.size).encode(), usedforsecurity=False).hexdigest()
    return ObjectInfo(ref=ref, size_bytes=blob.size, hashes={"md5": digest}, version=str(blob.number))


def _files(source: Path, ref: ObjectRef) -> dict[str, tuple[bytes, int]]:
    if source.is_dir() != ref.is_prefix or not source.exists():
        raise FixRequest(f"{source} does not fit {ref}")
    if not ref.is_prefix:
        return {ref.path: _read(source)}
    return {f"{ref.path}{file.relative_to(source)}": _read(file) for file in sorted(source.rglob("*")) if file.is_file()}


def _read(path: Path) -> tuple[bytes, int]:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES).rstrip(b"\0"), os.fstat(file.fileno()).st_size


def _error(kind: str, ref: ObjectRef) -> PortError:
    if kind == "busy":
        return Busy(f"{ref}: slow down")
    if kind == "refused":
        return AccessRefused(f"{ref}: access denied")
    return Unreachable(f"{ref}: the connection broke")


__all__ = ["Blob", "FarStores", "SimStorage", "info_of", "used_bytes"]
