"""The primary as a prefix of a remote: an object store near the compute, for example.

    <remote>:<prefix>.jitflow-primary    says that the prefix is ours
    <remote>:<prefix>objects/ab/<sha256> complete, verified replicas: an object, or a prefix of objects, each

    <remote>:<prefix>catalogue.jsonl     what the replicas are, for the day when nothing else knows

Bytes go between the far stores and the near one through rclone alone. Pods read copies in a directory of this machine, which
come just before they start.
"""

import asyncio
import hashlib
import logging
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from jitflow.dataplane.names import is_location, location_of
from jitflow.dataplane.primary import check_size, read_rows, same, write_rows
from jitflow.dataplane.scratch import Scratch
from jitflow.model.data import ObjectInfo, ObjectRef, Replica, StepId
from jitflow.model.problems import Problem, Refused
from jitflow.ports.errors import FixRequest, ObjectMissing, PortError, Retryable
from jitflow.ports.primary import Contents, Found, Held, Hoard, Lost, Received
from jitflow.ports.storage import Copying, Progress, Storage

log = logging.getLogger("jitflow.dataplane")

_CATALOGUE = "catalogue.jsonl"
_MARKER = ".jitflow-primary"
_MARKER_TEXT = "This prefix is a primary store of jitflow: it creates and deletes objects below objects/.\n"
_DEPTH = 3
"""Parts of a location's name."""
_PATIENCE_S = 5.0


class Stores(Storage, Copying, Protocol):
    """Stores that copy between each other."""


class RemotePrimary:
    """Objects below one prefix; implements `jitflow.ports.primary.Primary`."""

    def __init__(self, root: ObjectRef, storage: Stores, scratch: Scratch) -> None:
        """Use this prefix; pods read from `scratch`."""
        self.root = root if root.is_prefix else ObjectRef(remote=root.remote, path=f"{root.path}/")
        self.scratch = scratch
        self._storage = storage
        self._closing = asyncio.Event()

    @property
    def label(self) -> str:
        """See `Primary.label`."""
        return f"the primary ({self.root})"

    # -- life --------------------------------------------------------------------------------------------------------------

    async def open(self, keep: Collection[str] = ()) -> None:
        """See `Primary.open`."""
        del keep
        try:
            self.scratch.open()
            await self._mark()
        except PortError as error:
            remedy = (
                f"see whether its remote works (jitflow remote test {self.root.remote}); check primary.remote and primary.prefix"
            )
            raise Refused(Problem(message=f"the primary {self.root} cannot be used: {error}", remedy=remedy)) from error
        except OSError as error:
            message = f"the scratch directory {self.scratch.root} cannot be used: {error.strerror or error}"
            raise Refused(Problem(message=message, remedy="name a directory that this user may write")) from error

    async def _mark(self) -> None:
        marker = self._ref(_MARKER)
        try:
            await self._storage.stat(marker)
        except ObjectMissing:
            await self._refuse_strangers()
            await self._write(_MARKER, lambda path: path.write_text(_MARKER_TEXT))

    async def _refuse_strangers(self) -> None:
        try:
            async for info in self._storage.list(self.root):
                message = f"the primary {self.root} is not empty ({info.ref.path}) and was not made by jitflow"
                raise Refused(Problem(message=message, remedy="name an empty or new prefix: primary.prefix"))
        except ObjectMissing:
            return

    async def close(self) -> None:
        """See `Primary.close`."""
        self._closing.set()
        await self.scratch.close()

    # -- what is there -----------------------------------------------------------------------------------------------------

    def location(self, ref: ObjectRef, token: str) -> str:
        """See `Primary.location`."""
        return location_of(ref, token)

    async def contents(self, *, quick: bool = False) -> AsyncIterator[Contents]:
        """See `Primary.contents`: one listing tells everything."""
        del quick
        held: dict[str, Held | None] = {}
        trees: dict[str, list[ObjectInfo]] = {}
        strangers: dict[str, int] = {}
        try:
            async for info in self._storage.list(self.root, recursive=True):
                name = info.ref.path.removeprefix(self.root.path)
                location = "/".join(name.split("/")[:_DEPTH])
                if name in {_MARKER, _CATALOGUE} or info.ref.is_prefix:
                    continue
                if not is_location(location):
                    strangers[name] = info.size_bytes
                elif name == location:
                    held[name] = _file(info)
                else:
                    trees.setdefault(location, []).append(info)
        except ObjectMissing:
            pass
        held.update((location, _tree(self._ref(location, tree=True), members)) for location, members in trees.items())
        yield Contents(held=held, strangers=strangers)

    async def digest(self, location: str, kind: str) -> str:
        """See `Primary.digest`: what the store says."""
        with suppress(ObjectMissing):
            return (await self._storage.stat(self._ref(location))).hashes.get(kind, "")
        return ""

    async def remember(self, rows: Iterable[Replica]) -> None:
        """See `Primary.remember`."""
        await self._write(_CATALOGUE, partial(write_rows, rows=rows))

    async def _write(self, name: str, write: Callable[[Path], object]) -> None:
        with tempfile.TemporaryDirectory(dir=self.scratch.root) as folder:
            file = Path(folder) / "file"
            await asyncio.to_thread(write, file)
            await self._storage.store(file, self._ref(name), _ignore)

    async def remembered(self) -> Sequence[Replica]:
        """See `Primary.remembered`."""
        data = bytearray()
        with suppress(ObjectMissing):
            async for chunk in self._storage.read(self._ref(_CATALOGUE)):
                data += chunk
            return read_rows(data)
        return ()

    def hoard(self, place: str) -> Hoard:
        """See `Primary.hoard`."""
        remote, colon, path = place.partition(":")
        if not colon or remote != self.root.remote:
            message = f"{place!r} does not lie in {self.root.remote}, the remote of the primary"
            raise Refused(Problem(message=message, remedy=f"name a prefix as {self.root.remote}:bucket/folder/"))
        prefix = ObjectRef(remote=remote, path=f"{path.rstrip('/')}/")
        if prefix.path.startswith(self.root.path) or self.root.path.startswith(prefix.path):
            raise Refused(Problem(message=f"{place} and the primary overlap", remedy="name a prefix outside of it"))
        return RemoteHoard(prefix, self.root, self._storage)

    def local(self, location: str) -> Path | None:
        """See `Primary.local`."""
        del location
        return None

    def remote(self, location: str) -> ObjectRef | None:
        """See `Primary.remote`."""
        return self._ref(location)

    def free_bytes(self) -> int | None:
        """See `Primary.free_bytes`: stores do not tell."""
        return None

    def _ref(self, location: str, *, tree: bool = False) -> ObjectRef:
        return ObjectRef(remote=self.root.remote, path=f"{self.root.path}{location}{'/' if tree else ''}")

    # -- in and out --------------------------------------------------------------------------------------------------------

    def begun(self, location: str) -> bool:
        """See `Primary.begun`: what does not come whole from store to store leaves nothing."""
        del location
        return False

    def forget(self, location: str) -> None:
        """See `Primary.forget`."""

    async def receive(self, info: ObjectInfo, location: str, progress: Progress, *, parts: int = 1) -> Received:
        """See `Primary.receive`: from store to store, as rclone does it."""
        target = self._ref(location, tree=info.ref.is_prefix)
        try:
            copied = await self._storage.copy(info, target, progress, parts=parts)
            check_size(info, copied.written.size_bytes)
            held = await self._held(target, copied.written)
        except BaseException:
            await asyncio.shield(self._clear(target))
            raise
        return Received(read=copied.read, held=held)

    async def share(self, replica: Replica, location: str) -> Held:
        """See `Primary.share`: a copy by the near store itself; stores know no second names."""
        if replica.ref.is_prefix:
            raise FixRequest(f"{replica.ref} is a tree, which cannot have a second name")
        info = await self._storage.stat(self._ref(replica.location))
        if not same(replica, _file(info)):
            raise Lost(f"somebody has changed {replica.ref} in {self.label}", [replica.location])
        target = self._ref(location)
        try:
            return _file((await self._storage.copy(info, target, _ignore)).written)
        except BaseException:
            await asyncio.shield(self._clear(target))
            raise

    async def take(self, source: Path, location: str) -> Held:
        """See `Primary.take`."""
        target = self._ref(location, tree=await asyncio.to_thread(source.is_dir))
        try:
            return await self._held(target, await self._storage.store(source, target, _ignore))
        except BaseException:
            await asyncio.shield(self._clear(target))
            raise

    async def send(self, location: str, ref: ObjectRef, progress: Progress) -> ObjectInfo:
        """See `Primary.send`: from store to store."""
        try:
            info = await self._storage.stat(self._ref(location, tree=ref.is_prefix))
        except ObjectMissing:
            if not ref.is_prefix:
                raise
            # A tree without files is nothing in an object store; the caller knows what size it should have.
            return ObjectInfo(ref=ref, size_bytes=0, count=0)
        return (await self._storage.copy(info, ref, progress)).written

    def remove(self, location: str) -> Coroutine[Any, Any, None] | None:
        """See `Primary.remove`."""
        return self._remove(location)

    async def _held(self, ref: ObjectRef, info: ObjectInfo) -> Held:
        """Return what lies at a name of which the store has said `info`."""
        if not ref.is_prefix:
            return _file(info)
        if not info.count:
            return Held(size_bytes=0)
        return _tree(ref, [one async for one in self._storage.list(ref, recursive=True) if not one.ref.is_prefix])

    async def _remove(self, location: str) -> None:
        await self._clear(self._ref(location))
        await self._clear(self._ref(location, tree=True))

    async def _clear(self, ref: ObjectRef) -> None:
        """Delete with as much patience as it takes: the bytes count until they are gone. The next start finds what is left."""
        while not self._closing.is_set():
            try:
                await self._storage.delete(ref)
            except Retryable:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), _PATIENCE_S)
            except PortError as error:
                log.warning("%s could not be deleted from %s: %s", ref, self.label, error)
                return
            else:
                return

    # -- to pods -----------------------------------------------------------------------------------------------------------

    def at_hand(self, replicas: Sequence[Replica]) -> dict[str, str] | None:
        """See `Primary.at_hand`."""
        return None if replicas else {}

    async def deliver(self, step: StepId, replicas: Sequence[Replica]) -> dict[str, str]:
        """See `Primary.deliver`."""
        held = await self.scratch.hold(step, replicas, self._bring)
        return {location: str(path) for location, path in held.items()}

    async def _bring(self, replica: Replica, path: Path) -> None:
        ref = self._ref(replica.location, tree=replica.ref.is_prefix)
        try:
            info = await self._storage.stat(ref)
            held = await self._held(ref, info)
        except ObjectMissing as error:
            if replica.ref.is_prefix and not replica.size_bytes:
                await asyncio.to_thread(path.mkdir)
                return
            raise Lost(f"{replica.ref} is not in {self.label} any more", [replica.location]) from error
        if not same(replica, held):
            raise Lost(f"somebody has changed {replica.ref} in {self.label}", [replica.location])
        await self._storage.fetch(info, path, _ignore)

    def resume(self, step: StepId, replicas: Sequence[Replica]) -> None:
        """See `Primary.resume`."""
        self.scratch.resume(step, replicas)

    async def settle(self) -> None:
        """See `Primary.settle`."""
        await asyncio.to_thread(self.scratch.tidy)

    def give_back(self, step: StepId) -> None:
        """See `Primary.give_back`."""
        self.scratch.release(step)


class RemoteHoard:
    """Objects below a prefix of the primary's own remote; implements `jitflow.ports.primary.Hoard`."""

    def __init__(self, prefix: ObjectRef, root: ObjectRef, storage: Stores) -> None:
        """Give them to the primary at `root`."""
        self._prefix = prefix
        self._root = root
        self._storage = storage
        self._infos: dict[str, ObjectInfo] = {}

    async def files(self) -> Sequence[Found]:
        """See `Hoard.files`."""
        async for info in self._storage.list(self._prefix, recursive=True):
            if not info.ref.is_prefix:
                self._infos[info.ref.path.removeprefix(self._prefix.path)] = info
        return [
            Found(name=name, size_bytes=info.size_bytes, modified=info.modified, hashes=info.hashes)
            for name, info in self._infos.items()
        ]

    async def digest(self, name: str, kind: str) -> str:
        """See `Hoard.digest`: what the store says."""
        return self._infos[name].hashes.get(kind, "")

    async def adopt(self, name: str, location: str, *, move: bool) -> Held:
        """See `Hoard.adopt`: the store makes the copy."""
        target = ObjectRef(remote=self._root.remote, path=f"{self._root.path}{location}")
        copied = await self._storage.copy(self._infos[name], target, _ignore)
        if move:
            await self._storage.delete(copied.read.ref)
        return _file(copied.written)


def _file(info: ObjectInfo) -> Held:
    return Held(size_bytes=info.size_bytes, stamp=_stamp(info))


def _stamp(info: ObjectInfo) -> str:
    """Return what tells an object's content; times only where there is no hash: stores tell them now so, now so."""
    kind = min(info.hashes, default="")
    return f"{kind}:{info.hashes[kind]}" if kind else f"version:{info.version}"


def _tree(ref: ObjectRef, members: Sequence[ObjectInfo]) -> Held:
    digest = hashlib.sha1(usedforsecurity=False)
    for one in sorted(members, key=lambda each: each.ref):
        digest.update(f"{one.ref.path.removeprefix(ref.path)}\0{_stamp(one)}\0".encode(errors="surrogatepass"))
    return Held(size_bytes=sum(one.size_bytes for one in members), stamp=f"tree:{digest.hexdigest()}")


def _ignore(done_bytes: int) -> None:
    del done_bytes
