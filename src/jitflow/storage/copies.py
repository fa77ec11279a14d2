"""Copies between stores and this machine, verified."""

import asyncio
import errno
import os
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.ports.errors import Busy, Corrupt, FixRequest, ObjectMissing, Retryable, SourceChanged, Unreachable
from jitflow.ports.storage import LEAST_RANGED_BYTES, Progress
from jitflow.storage import files, keys, wire
from jitflow.storage.batches import Batches
from jitflow.storage.calls import Calls
from jitflow.storage.lookup import Lookup, config_of
from jitflow.storage.ranges import IgnoresRanges, Ranges, begun
from jitflow.storage.remotes import RemoteConfig
from jitflow.storage.speeds import Speeds
from jitflow.storage.staging import disk_error

SMALL_BYTES = 8 * 2**20
"""Objects of S3 up to this size are read with one request: their size and hash are known and compared afterwards."""
SECOND_LOOK_S = 10.0
PARTED_BYTES, LEAST_PART_BYTES, MOST_PART_BYTES = 10 * 2**20, 5 * 2**20, 16 * 2**20
"""Objects of this size go to far buckets in parts, several at once; buckets take no smaller parts."""
PART_STREAMS, PARTED_AT_ONCE = 4, 4
"""Parts of one object at once, and objects: rclone holds each part in memory while it is sent."""
STORE_TRIES = 3
STORE_PAUSE_S = 0.2


class Copies:
    """Fetches and stores."""

    def __init__(self, transfers: Calls, lookup: Lookup, ranges: Ranges, at_once: int) -> None:
        """Use `transfers` for the copies, `ranges` for those of large objects, and `lookup` to verify them.

        Of small objects `at_once` come from a remote at once.
        """
        self._transfers = transfers
        self._lookup = lookup
        self._batches = Batches(transfers, at_once)
        self._at_once = at_once
        self._places: dict[str, asyncio.Semaphore] = {}
        self._ranges = ranges
        self._speeds = Speeds()
        self._parted = 0
        """Objects that are being sent in parts."""

    async def close(self) -> None:
        """End what is under way for several callers at once."""
        await self._batches.close()
        self._ranges.close()

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
        remote = self._lookup.known(info.ref)
        keys.check(info.ref)
        before = info if info.version else await self._lookup.stat(info.ref)
        alone = kept is not None or (parts > 1 and info.size_bytes >= LEAST_RANGED_BYTES)
        together = remote.check_hashes and not alone and self._batches.takes(before)
        if together and await self._batches.fetch(remote, before, target, progress, scratch=scratch):
            return before
        resumes = begun(kept)
        with self._speeds.measured(before, progress, resumed=resumes) as told:
            quick = self._speeds.is_quick(before) and not resumes
            if not quick and self._ranges.takes(remote, before, parts, kept) and not (await self._lookup.traits(remote)).is_near:
                root = kept or files.partial_path(target, scratch)
                with suppress(IgnoresRanges):
                    return await self._fetch_ranges(before, target, told, parts=parts, root=root, keeps=kept is not None)
            read = await self._fetch_whole(before, target, told, scratch, parts=parts if quick else 0)
        if kept is not None and begun(kept):
            await asyncio.to_thread(files.remove, kept)
        return read

    async def _fetch_whole(
        self, before: ObjectInfo, target: Path | str, progress: Progress, scratch: str, *, parts: int
    ) -> ObjectInfo:
        """Have rclone write an object or a tree; `parts`: of an object at once, 0 for what the remote is set to."""
        partial = files.partial_path(target, scratch)
        try:
            if before.ref.is_prefix:
                read = await self._fetch_tree(before, partial, progress)
            else:
                read = await self._fetch_file(before, partial, progress, parts)
            _publish(partial, target)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(files.remove, partial))
            raise
        progress(read.size_bytes)
        return read

    async def _fetch_ranges(
        self, before: ObjectInfo, target: Path | str, progress: Progress, *, parts: int, root: Path, keeps: bool
    ) -> ObjectInfo:
        """Fetch a large object in ranges; `keeps`: what has come of it stays in `root`, unless it turns out to be wrong."""
        remote = self._lookup.known(before.ref)
        keep = False
        try:
            kind = files.common_hash(before.hashes) if remote.check_hashes else ""
            async with self._blaming(before):
                path, digest = await self._ranges.fetch(remote, before, root, parts, progress, kind=kind)
            read = before if kind else await self._unchanged(before)
            if remote.check_hashes and not (digest and digest == read.hashes.get(kind)):
                await self._compare(before, read, path)
            await asyncio.to_thread(_publish, path, target)
        except (Retryable, asyncio.CancelledError):
            keep = keeps
            raise
        finally:
            if not keep:
                await asyncio.shield(asyncio.to_thread(files.remove, root))
        progress(read.size_bytes)
        return read

    async def _fetch_file(self, before: ObjectInfo, partial: Path, progress: Progress, parts: int) -> ObjectInfo:
        ref, remote = before.ref, self._lookup.known(before.ref)
        large = before.size_bytes > SMALL_BYTES
        known = remote.check_hashes and bool(files.common_hash(before.hashes))
        # What is compared here with the hash that was looked up need not be hashed by rclone as well. rclone hashes what is large
        # while it comes; where its hash costs nothing it is the one that was looked up, unless the object changes meanwhile.
        verifiable = known and not (large and not (await self._lookup.traits(remote)).features.slow_hash)
        one_request = remote.type == "s3" and not large and verifiable
        source = keys.address(ref, options="no_head_object=true" if one_request else "")
        config = {**config_of(remote), **_streams(before.size_bytes, parts)}
        config["IgnoreChecksum"] = verifiable or not remote.check_hashes
        request = wire.copyfile_request(source, wire.local(_absolute(partial)), config, in_place=True)
        if large:
            await self._unchanged(before)  # rather than after hours
        async with self._places.setdefault(remote.name, asyncio.Semaphore(self._at_once)):
            await self._copy(before, "operations/copyfile", request, before.size_bytes, progress)
        size = _size(partial)
        if size != before.size_bytes:
            await self._blame(before, f"{size} bytes arrived instead of {before.size_bytes}")
        if verifiable:
            await self._compare(before, before, partial)
            return before
        after = await self._unchanged(before)
        if remote.check_hashes and not known:
            await self._compare(before, after, partial)
        return after

    async def _compare(self, before: ObjectInfo, said: ObjectInfo, path: Path) -> None:
        """Compare a local file with the hash that the store gives, where it gives one that we know."""
        kind = files.common_hash(said.hashes)
        if kind and await asyncio.to_thread(files.digest, path, kind) != said.hashes[kind]:
            await self._blame(before, f"its {kind} differs")

    async def _blame(self, before: ObjectInfo, what: str) -> None:
        """Raise `SourceChanged` if the object is another one by now, else `Corrupt`."""
        await self._unchanged(before)
        raise Corrupt(f"{before.ref}: what arrived is not what the store describes: {what}; fetch it again")

    async def _unchanged(self, before: ObjectInfo) -> ObjectInfo:
        after = await self._lookup.stat(before.ref)
        if changed(before, after):
            raise _source_changed(before, after)
        return after

    async def _copy(self, before: ObjectInfo, method: str, request: wire.Request, total_bytes: int, progress: Progress) -> None:
        """Copy from a store."""
        subject = str(before.ref)
        async with self._blaming(before):
            await self._transfers.run(method, request, subject=subject, total_bytes=total_bytes, progress=progress)

    @asynccontextmanager
    async def _blaming(self, before: ObjectInfo) -> AsyncGenerator[None]:
        """Take a failure to read an object for a change of it if there was one."""
        try:
            yield
        except (Corrupt, ObjectMissing) as error:
            await self._blame(before, str(error))
        except Unreachable:
            # Who reads an object that was made shorter sees the connection end early.
            with suppress(Retryable, FixRequest, TimeoutError):
                async with asyncio.timeout(SECOND_LOOK_S):
                    await self._unchanged(before)
            raise

    async def _fetch_tree(self, before: ObjectInfo, partial: Path, progress: Progress) -> ObjectInfo:
        ref, remote = before.ref, self._lookup.known(before.ref)
        request = wire.copydir_request(keys.address(ref), wire.local(_absolute(partial)), config_of(remote), in_place=True)
        await self._copy(before, "sync/copy", request, -1, progress)
        after, members = await self._lookup.tree(ref)
        if changed(before, after):
            raise _source_changed(before, after)
        start = (
            len(keys.address(ref).fs.partition(":")[2] + keys.address(ref).remote) + 1 if ref.path.strip("/") else len(ref.path)
        )
        wanted = {member.ref.path[start:]: member for member in members}
        await asyncio.to_thread(_check_tree, ref, partial, wanted, check_hashes=remote.check_hashes)
        return after

    async def store(self, source: Path, ref: ObjectRef, progress: Progress) -> ObjectInfo:
        """See `Storage.store`."""
        remote = self._lookup.known(ref)
        keys.check(ref)
        if not ref.path.strip("/"):
            raise FixRequest(f"{ref}: name an object or a prefix, not the whole remote")
        if await asyncio.to_thread(source.is_dir) != ref.is_prefix:
            raise FixRequest(f"{source} is {'a file' if ref.is_prefix else 'no regular file'}, which does not fit {ref}")
        for left in reversed(range(STORE_TRIES)):
            try:
                return await (self._store_tree if ref.is_prefix else self._store_file)(remote, source, ref, progress)
            except Busy:
                if not left:
                    raise
                await asyncio.sleep(STORE_PAUSE_S)
        raise AssertionError

    async def verify(self, source: Path, ref: ObjectRef) -> ObjectInfo | None:
        """See `Storage.verify`."""
        remote = self._lookup.known(ref)
        keys.check(ref)
        if not remote.check_hashes:
            return None
        try:
            if not ref.is_prefix:
                info = await self._lookup.stat(ref)
                return info if await asyncio.to_thread(_is_same, source, info) else None
            info, members = await self._lookup.tree(ref)
        except ObjectMissing:
            return None
        there = {member.ref.path.removeprefix(ref.path): member for member in members}
        return info if await asyncio.to_thread(_is_same_tree, source, there) else None

    async def _store_file(self, remote: RemoteConfig, source: Path, ref: ObjectRef, progress: Progress) -> ObjectInfo:
        traits = await self._lookup.traits(remote)
        before = await asyncio.to_thread(_stamp, source)
        blind = traits.features.bucket_based
        with self._in_parts(before[0], far_bucket=blind and not traits.is_near) as parts:
            config = {**config_of(remote), **parts}
            request = wire.copyfile_request(wire.local(_absolute(source)), keys.address(ref), config, in_place=False, blind=blind)
            await self._transfers.run("operations/copyfile", request, subject=str(ref), total_bytes=before[0], progress=progress)
        after = await self._lookup.stat(ref)
        if await asyncio.to_thread(_stamp, source) != before:
            raise SourceChanged(f"{source} changed while it was sent to {ref}; it must be finished before it is stored")
        if after.size_bytes != before[0]:
            raise Corrupt(f"{ref}: the store has {after.size_bytes} bytes of {before[0]}; send it again")
        kind = files.common_hash(after.hashes) if remote.check_hashes else ""
        if kind and await asyncio.to_thread(files.digest, source, kind) != after.hashes[kind]:
            raise Corrupt(f"{ref}: the store's {kind} differs from that of {source}; send it again")
        progress(after.size_bytes)
        return after

    @contextmanager
    def _in_parts(self, size_bytes: int, *, far_bucket: bool) -> Generator[wire.Request]:
        """Give the settings with which rclone sends an object, in parts if that is worth it and not too many are sent so."""
        if not far_bucket or size_bytes < PARTED_BYTES or self._parted >= PARTED_AT_ONCE:
            yield {"MultiThreadStreams": 1}
            return
        part_bytes = min(MOST_PART_BYTES, max(LEAST_PART_BYTES, size_bytes // (2 * PART_STREAMS)))
        self._parted += 1
        try:
            yield {
                "MultiThreadStreams": PART_STREAMS,
                "MultiThreadCutoff": PARTED_BYTES,
                "MultiThreadChunkSize": part_bytes,
            }
        finally:
            self._parted -= 1

    async def _store_tree(self, remote: RemoteConfig, source: Path, ref: ObjectRef, progress: Progress) -> ObjectInfo:
        sizes = await asyncio.to_thread(files.inventory, source)
        if not sizes:
            return ObjectInfo(ref=ref, size_bytes=0, count=0)
        request = wire.copydir_request(wire.local(_absolute(source)), keys.address(ref), config_of(remote), in_place=False)
        await self._transfers.run("sync/copy", request, subject=str(ref), progress=progress)
        info, members = await self._lookup.tree(ref)
        there = {member.ref.path.removeprefix(ref.path): member for member in members}
        missing = [path for path in sizes if path not in there]
        if missing:
            raise Corrupt(f"{ref}{missing[0]}: the store does not list it after it was sent; send it again")
        wanted = {path: there[path] for path in sizes}
        await asyncio.to_thread(_check_tree, ref, source, wanted, check_hashes=remote.check_hashes)
        progress(info.size_bytes)
        return info


def changed(before: ObjectInfo, after: ObjectInfo) -> bool:
    """Return whether two looks at one object saw different contents, as far as they tell."""
    if before.size_bytes != after.size_bytes or before.count != after.count:
        return True
    common = [kind for kind in before.hashes if kind in after.hashes]
    if any(before.hashes[kind] != after.hashes[kind] for kind in common):
        return True
    return bool(before.version and after.version and before.version != after.version)


def _source_changed(before: ObjectInfo, after: ObjectInfo) -> SourceChanged:
    return SourceChanged(
        f"{before.ref}: it changed since it was looked up: {_seen(before)} then, {_seen(after)} now; "
        "submit again when nobody writes to it"
    )


def _seen(info: ObjectInfo) -> str:
    return f"{info.size_bytes} bytes" + (f" of {info.modified}" if info.modified else "")


def _publish(partial: Path, target: Path | str) -> None:
    try:
        files.place(partial, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_error(error, Path(target)) from error
        raise FixRequest(f"{target}: cannot be made: {error.strerror}; fetch to a name that does not exist yet") from error


def _streams(size_bytes: int, parts: int) -> wire.Request:
    """Return the settings with which rclone reads an object in so many parts at once."""
    if not parts:
        return {}
    return {"MultiThreadStreams": parts, "MultiThreadCutoff": SMALL_BYTES, "MultiThreadChunkSize": -(-size_bytes // parts)}


def _absolute(path: Path) -> str:
    return os.path.abspath(path)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _stamp(path: Path) -> tuple[int, int]:
    try:
        seen = path.lstat()
    except OSError as error:
        raise FixRequest(f"{path}: cannot be read: {error.strerror}") from error
    return seen.st_size, seen.st_mtime_ns


def _check_tree(ref: ObjectRef, root: Path, wanted: dict[str, ObjectInfo], *, check_hashes: bool) -> None:
    """Compare the files below a directory with what a store says of them. Blocking."""
    sizes = files.inventory(root)
    for path, info in wanted.items():
        if sizes.get(path) != info.size_bytes:
            raise Corrupt(f"{ref}{path}: {sizes.get(path, 'no')} bytes here, {info.size_bytes} in the store; copy it again")
        kind = files.common_hash(info.hashes) if check_hashes else ""
        if kind and files.digest(root / path, kind) != info.hashes[kind]:
            raise Corrupt(f"{ref}{path}: its {kind} differs here and in the store; copy it again")
    extra = set(sizes) - set(wanted)
    if extra:
        raise Corrupt(f"{ref}{min(extra)}: was copied and is not listed; copy it again")


def _is_same(path: Path, info: ObjectInfo) -> bool:
    """Return whether a file is what a store says of an object, by a hash. Blocking."""
    kind = files.common_hash(info.hashes)
    return bool(kind) and _size(path) == info.size_bytes and files.digest(path, kind) == info.hashes[kind]


def _is_same_tree(root: Path, there: dict[str, ObjectInfo]) -> bool:
    """Return whether all files of a directory are in a store. Blocking."""
    sizes = files.inventory(root)
    return bool(sizes) and all(path in there and _is_same(root / path, there[path]) for path in sizes)
