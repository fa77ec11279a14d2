"""Copies between remotes: by the store itself where it can, else through rclone, never through a file of this machine."""

import asyncio

from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.ports.errors import Busy, Corrupt, FixRequest, SourceChanged
from jitflow.ports.storage import Copied, Progress
from jitflow.storage import files, keys, wire
from jitflow.storage.calls import Calls
from jitflow.storage.copies import STORE_PAUSE_S, STORE_TRIES, changed
from jitflow.storage.lookup import Lookup, config_of


class Between:
    """Implements `jitflow.ports.storage.Copying` for configured remotes."""

    def __init__(self, transfers: Calls, lookup: Lookup) -> None:
        """Use `transfers` for the copies and `lookup` to verify them."""
        self._transfers = transfers
        self._lookup = lookup

    async def copy(self, info: ObjectInfo, target: ObjectRef, progress: Progress, *, parts: int = 1) -> Copied:
        """See `Copying.copy`."""
        self._lookup.known(info.ref)
        self._lookup.known(target)
        keys.check(target)
        if not target.path.strip("/"):
            raise FixRequest(f"{target}: name an object or a prefix, not the whole remote")
        if info.ref.is_prefix != target.is_prefix:
            raise FixRequest(f"{info.ref} and {target}: an object is copied to an object, a prefix to a prefix")
        before = info if info.version else await self._lookup.stat(info.ref)
        for left in reversed(range(STORE_TRIES)):
            try:
                copied = await (
                    self._tree(before, target, progress) if target.is_prefix else self._object(before, target, progress, parts)
                )
            except Busy:
                if not left:
                    raise
                await asyncio.sleep(STORE_PAUSE_S)
            else:
                progress(copied.written.size_bytes)
                return copied
        raise AssertionError

    async def _object(self, before: ObjectInfo, target: ObjectRef, progress: Progress, parts: int) -> Copied:
        source, remote = self._lookup.known(before.ref), self._lookup.known(target)
        # Both views are made with the options of their own remotes before they meet in one call.
        await self._lookup.traits(source)
        blind = (await self._lookup.traits(remote)).features.bucket_based
        request = wire.copyfile_request(
            keys.address(before.ref), keys.address(target), in_parts(config_of(source), parts), in_place=False, blind=blind
        )
        await self._run("operations/copyfile", request, before, target, before.size_bytes, progress=progress)
        after = await self._lookup.stat(target)
        if after.size_bytes != before.size_bytes:
            await self._unchanged(before)
            raise Corrupt(f"{target}: the store has {after.size_bytes} bytes of {before.size_bytes}; copy it again")
        kind = _common(before, after) if source.check_hashes and remote.check_hashes else ""
        if not kind:
            return Copied(read=await self._unchanged(before), written=after)
        if before.hashes[kind] != after.hashes[kind]:
            await self._unchanged(before)
            raise Corrupt(f"{target}: its {kind} differs from that of {before.ref}; copy it again")
        return Copied(read=before, written=after)

    async def _tree(self, before: ObjectInfo, target: ObjectRef, progress: Progress) -> Copied:
        source, remote = self._lookup.known(before.ref), self._lookup.known(target)
        await self._lookup.traits(source)
        await self._lookup.traits(remote)
        request = wire.copydir_request(keys.address(before.ref), keys.address(target), config_of(source), in_place=False)
        await self._run("sync/copy", request, before, target, -1, progress=progress)
        after, members = await self._lookup.tree(before.ref)
        if changed(before, after):
            raise _source_changed(before.ref)
        written, copies = await self._lookup.tree(target)
        there = {copy.ref.path.removeprefix(target.path): copy for copy in copies}
        check = source.check_hashes and remote.check_hashes
        for member in members:
            _compare(member, there.get(member.ref.path.removeprefix(before.ref.path)), check_hashes=check)
        return Copied(read=after, written=written)

    async def _run(
        self, method: str, request: wire.Request, before: ObjectInfo, target: ObjectRef, total_bytes: int, *, progress: Progress
    ) -> None:
        """Copy; a failure names both ends, for either may fail, and is blamed on a change of the source if there was one."""
        subject = f"{before.ref} to {target}"
        try:
            await self._transfers.run(method, request, subject=subject, total_bytes=total_bytes, progress=progress)
        except Corrupt:
            await self._unchanged(before)
            raise

    async def _unchanged(self, before: ObjectInfo) -> ObjectInfo:
        after = await self._lookup.stat(before.ref)
        if changed(before, after):
            raise _source_changed(before.ref)
        return after


def in_parts(config: wire.Request, parts: int) -> wire.Request:
    """Let an object be read in so many ranges at once, whatever its size: who asks for more than one has thought of that."""
    return config if parts <= 1 else {**config, "MultiThreadStreams": parts, "MultiThreadCutoff": 1}


def _common(one: ObjectInfo, other: ObjectInfo) -> str:
    return next((kind for kind in files.STRONGEST_FIRST if one.hashes.get(kind) and other.hashes.get(kind)), "")


def _compare(member: ObjectInfo, copy: ObjectInfo | None, *, check_hashes: bool) -> None:
    if copy is None or copy.size_bytes != member.size_bytes:
        found = "nothing" if copy is None else f"{copy.size_bytes} bytes"
        raise Corrupt(f"{member.ref}: its copy has {found} instead of {member.size_bytes} bytes; copy it again")
    kind = _common(member, copy) if check_hashes else ""
    if kind and member.hashes[kind] != copy.hashes[kind]:
        raise Corrupt(f"{member.ref}: its copy has another {kind}; copy it again")


def _source_changed(ref: ObjectRef) -> SourceChanged:
    return SourceChanged(f"{ref}: it changed since it was looked up; submit again when nobody writes to it")
