"""All stores behind one port: the configured remotes, and the stores that only a manifest names, made when they are needed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec

from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.model.origins import GIT, WEB, Origin, is_made
from jitflow.model.problems import Refused
from jitflow.ports.errors import AccessRefused, FixRequest, PortError, RemoteUnknown
from jitflow.ports.storage import Copied, Progress, Storage
from jitflow.storage import files
from jitflow.storage.credentials import Secrets
from jitflow.storage.git import GitStore
from jitflow.storage.guard import Guard
from jitflow.storage.lanes import Lanes
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.remotes import RemoteConfig
from jitflow.storage.staging import Limits, Staging
from jitflow.storage.web import WebStore


class AllStores:
    """Implements `Storage` for every remote there is.

    A store that only a manifest names is made from its origin when it is first used, and again when its secrets have changed.
    Secrets are read at that moment; rclone gets them over its private socket.
    """

    def __init__(
        self, rclone: Lanes | RcloneStorage, credentials: Secrets, guard: Guard, staging: Staging, *, stall_s: float = 60.0
    ) -> None:
        """Use `rclone` for the configured remotes; `guard` refuses hosts that may not be asked."""
        self._rclone = rclone
        self._credentials = credentials
        self._guard = guard
        self._staging = staging
        self._limits = Limits(stall_s)
        self._origins: dict[str, Origin] = {}
        self._others: dict[str, Storage] = {}
        self._made: dict[str, RemoteConfig] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self.on_new: Callable[[Origin], None] = lambda _: None
        """Told of each origin that was not known: it must be known again after a restart."""

    def notice(self, origin: Origin) -> None:
        """Know a store from now on."""
        name = origin.name
        if name not in self._origins:
            self._origins[name] = origin
            self.on_new(origin)

    # -- the port --------------------------------------------------------------------------------------------------------

    async def stat(self, ref: ObjectRef) -> ObjectInfo:
        """See `Storage.stat`."""
        return await (await self._of(ref.remote)).stat(ref)

    async def stat_many(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, ObjectInfo | Exception]:
        """See `Storage.stat_many`."""
        found: dict[ObjectRef, ObjectInfo | Exception] = {}

        async def ask(remote: str, some: list[ObjectRef]) -> None:
            try:
                found.update(await (await self._of(remote)).stat_many(some))
            except PortError as error:
                found.update(dict.fromkeys(some, error))

        by_remote: dict[str, list[ObjectRef]] = {}
        for ref in refs:
            by_remote.setdefault(ref.remote if is_made(ref.remote) else "", []).append(ref)
        async with asyncio.TaskGroup() as group:
            for remote, some in by_remote.items():
                group.create_task(ask(remote, some))
        return {ref: found[ref] for ref in refs}

    async def list(self, ref: ObjectRef, *, recursive: bool = False) -> AsyncIterator[ObjectInfo]:
        """See `Storage.list`."""
        async for info in (await self._of(ref.remote)).list(ref, recursive=recursive):
            yield info

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
        """See `Storage.fetch`."""
        return await (await self._of(info.ref.remote)).fetch(info, target, progress, parts=parts, kept=kept, scratch=scratch)

    async def read(self, ref: ObjectRef, *, offset: int = 0, count: int | None = None) -> AsyncIterator[bytes]:
        """See `Storage.read`."""
        async for chunk in (await self._of(ref.remote)).read(ref, offset=offset, count=count):
            yield chunk

    async def store(self, source: Path, ref: ObjectRef, progress: Progress) -> ObjectInfo:
        """See `Storage.store`."""
        return await (await self._of(ref.remote)).store(source, ref, progress)

    async def copy(self, info: ObjectInfo, target: ObjectRef, progress: Progress, *, parts: int = 1) -> Copied:
        """See `Copying.copy`: what rclone does not read comes by way of a file."""
        source, sink = await self._of(info.ref.remote), await self._of(target.remote)
        if source is self._rclone and sink is self._rclone:
            return await self._rclone.copy(info, target, progress, parts=parts)
        waiting = self._staging.new()
        try:
            read = await source.fetch(info, waiting, progress, parts=parts)
            return Copied(read=read, written=await sink.store(waiting, target, _ignore))
        finally:
            await asyncio.shield(asyncio.to_thread(files.remove, waiting))

    async def verify(self, source: Path, ref: ObjectRef) -> ObjectInfo | None:
        """See `Storage.verify`."""
        return await (await self._of(ref.remote)).verify(source, ref)

    async def delete(self, ref: ObjectRef) -> None:
        """See `Storage.delete`."""
        await (await self._of(ref.remote)).delete(ref)

    async def test(self, remote: str) -> None:
        """See `Storage.test`."""
        await (await self._of(remote)).test(remote)

    # -- which store -----------------------------------------------------------------------------------------------------

    async def _of(self, remote: str) -> Storage:
        if not is_made(remote):
            return self._rclone
        origin = self._origins.get(remote)
        if origin is None:
            raise RemoteUnknown(f"{remote}: no manifest names this store any more; submit the workflow again")
        if origin.kind in (WEB, GIT):
            return self._other(origin)
        async with self._turns.setdefault(remote, asyncio.Lock()):
            await self._make(origin)
        return self._rclone

    def _other(self, origin: Origin) -> Storage:
        found = self._others.get(origin.name)
        if found is None:
            kind = WebStore if origin.kind == WEB else GitStore
            found = kind(origin, self._credentials, self._guard, self._staging, self._limits)
            self._others[origin.name] = found
        return found

    async def _make(self, origin: Origin) -> None:
        """Tell rclone of a store, unless it knows it as it is now."""
        config = self._config(origin)
        if self._made.get(origin.name) == config:
            return
        try:
            if origin.host:
                await self._guard.resolve(origin.host)
            await self._rclone.configure(config)
        except Refused as error:
            raise AccessRefused(f"{origin.label}: {error}") from error
        self._made[origin.name] = config

    def _config(self, origin: Origin) -> RemoteConfig:
        own = self._credentials.options(origin)
        hidden = frozenset({*origin.secrets, *origin.hidden})
        if not origin.base:
            return RemoteConfig(name=origin.name, type=origin.kind, options=own, secrets=hidden, check_hashes=origin.check_hashes)
        base = self._rclone.config(origin.base)
        if base is None:
            raise FixRequest(f"the remote {origin.base!r} is not configured any more; add it again and submit again")
        return msgspec.structs.replace(
            base,
            name=origin.name,
            options={**base.options, **own},
            secrets=base.secrets | hidden,
            check_hashes=base.check_hashes and origin.check_hashes,
        )


def _ignore(done_bytes: int) -> None:
    del done_bytes
