"""Far stores, as jitflow needs them: listings, stats, and copies that can be watched and cancelled."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from jitflow.model.bandwidth import Rate
from jitflow.model.data import ObjectInfo, ObjectRef

Progress = Callable[[int], None]
"""Called now and then with the bytes done so far of one transfer."""


RANGED_BYTES, LEAST_RANGED_BYTES = 32 * 2**20, 2**20


def in_ranges(info: ObjectInfo, parts: int) -> bool:
    """Return whether an object is read in ranges: a large one always, one of some size if several parts are asked for."""
    return not info.ref.is_prefix and info.size_bytes >= (LEAST_RANGED_BYTES if parts > 1 else RANGED_BYTES)


class Copied(Struct, frozen=True, kw_only=True):
    """What was read in one store, and what another one says of the copy."""

    read: ObjectInfo
    written: ObjectInfo


class Copying(Protocol):
    """Stores that can copy between each other, not through files of this machine where they need none."""

    async def copy(self, info: ObjectInfo, target: ObjectRef, progress: Progress, *, parts: int = 1) -> Copied:
        """Copy an object to another name, a prefix to another prefix, and verify it there.

        `parts`: in how many ranges to read a large object at once, where both stores can do that.

        Raises:
            SourceChanged: its size or version differs from `info`. Corrupt: the copy differs. As `Storage.fetch` and `store`.
        """
        ...


class Limiting(Protocol):
    """Stores to which, and from which, no more bytes a second move than is said."""

    async def limit(self, total: Rate, remotes: Mapping[str, Rate]) -> None:
        """Hold these limits from now on, also for what is under way, until others are given.

        Args:
            total: for all remotes together.
            remotes: for each of these by itself; one that is not configured counts for nothing.

        Raises:
            PortError: they cannot be held now; those given before may hold in part.
        """
        ...


class Reading(Protocol):
    """What reads objects of far stores and changes nothing there; part of `Storage`."""

    async def stat(self, ref: ObjectRef) -> ObjectInfo:
        """See `Storage.stat`."""
        ...

    def list(self, ref: ObjectRef, *, recursive: bool = False) -> AsyncIterator[ObjectInfo]:
        """See `Storage.list`."""
        ...

    def read(self, ref: ObjectRef, *, offset: int = 0, count: int | None = None) -> AsyncIterator[bytes]:
        """See `Storage.read`."""
        ...


class Storage(Protocol):
    """Objects behind remotes. Every method raises `jitflow.ports.errors`; messages never hold a secret.

    A transfer is one awaitable: cancelling the task cancels the transfer and leaves nothing under the final name. No progress for
    `stall_s` raises `Stalled`. Sizes are always compared after a copy, hashes when both ends have one in common.
    """

    async def stat(self, ref: ObjectRef) -> ObjectInfo:
        """Return what the store knows of an object; for a prefix, the sum over everything below it.

        Raises:
            ObjectMissing: nothing is there. RemoteUnknown, AccessRefused, Unreachable, Stalled as they are.
        """
        ...

    async def stat_many(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, ObjectInfo | Exception]:
        """Return `stat` of each, with one listing for objects that share a directory."""
        ...

    def list(self, ref: ObjectRef, *, recursive: bool = False) -> AsyncIterator[ObjectInfo]:
        """Yield what lies below a prefix, directories as prefixes with size 0 when not recursive."""
        ...

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
        """Copy an object to a new local file (a prefix to a new directory) and verify it; return what was read.

        The first call of `progress` may tell of bytes that had come before.

        Args:
            info: what was said of the object.
            target: a path that does not exist, nor need its directory. What has this name is whole and verified.
            progress: told the bytes done.
            parts: in how many ranges to read an object at once, where its store gives ranges (see `in_ranges`).
            kept: a directory on the target's disk in which what has come of such an object stays (in space of the object's whole
                size) when the rest does not: a fetch with the same directory goes on from there, in this process or a later one.
                It is gone when the object has come, or when what it holds is wrong. Without one, nothing is ever left.
            scratch: a directory on the target's disk in which all else lies that is on its way; empty: the target's own.

        Raises:
            SourceChanged: its size or version differs from `info`. Corrupt: the bytes that arrived differ. DiskFull.
        """
        ...

    def read(self, ref: ObjectRef, *, offset: int = 0, count: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes of an object from `offset` on, at most `count`; close it when it is not read to its end.

        Raises:
            ObjectMissing: there is no such object. Unreachable: the stream broke; what came before is right.
        """
        ...

    async def store(self, source: Path, ref: ObjectRef, progress: Progress) -> ObjectInfo:
        """Copy a local file (directory to a prefix) to a store and verify it there; return what the store says of it."""
        ...

    async def verify(self, source: Path, ref: ObjectRef) -> ObjectInfo | None:
        """Return what a store says of an object that has the bytes of a local file (a prefix: of a directory's files).

        None if there is no such object, if it is another one, or if its hashes do not tell.
        """
        ...

    async def delete(self, ref: ObjectRef) -> None:
        """Remove an object or everything below a prefix; nothing there is no error."""
        ...

    async def test(self, remote: str) -> None:
        """Raise if the remote cannot be listed."""
        ...
