"""What was read from stores that do not say ahead how large it is: it lies here, outside the primary, until there is room for it.

Its size is known when it is here. The primary's room is reserved then, and it moves in.
"""

import asyncio
import errno
import shutil
from collections import OrderedDict
from pathlib import Path

from msgspec import Struct

from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.ports.errors import DiskFull, FixRequest
from jitflow.storage import files

KEPT = 16
"""So many wait at once, no larger together than one may be; the oldest is given up, and read again if it is still wanted."""

SIZES_KEPT = 10_000


class Limits:
    """How hard other servers are asked. `stall_s`: a transfer without progress for so long is given up."""

    def __init__(self, stall_s: float = 60.0, looks: int = 16) -> None:
        """Allow `looks` questions about objects at once, whatever server they go to."""
        self.stall_s = stall_s
        self.looks = asyncio.Semaphore(looks)


class _Waiting(Struct, frozen=True):
    path: Path
    info: ObjectInfo


class Staging:
    """A directory for files and trees that wait. One event loop; nothing here awaits."""

    def __init__(self, root: Path, limit_bytes: int) -> None:
        """Use `root`. Nothing larger than `limit_bytes` is ever of use."""
        self.root = root
        self.limit_bytes = limit_bytes
        self._count = 0
        self._waiting: OrderedDict[ObjectRef, _Waiting] = OrderedDict()
        self._sizes: OrderedDict[tuple[ObjectRef, str], int] = OrderedDict()

    def open(self) -> None:
        """Make the directory, empty, for its owner only."""
        files.remove(self.root)
        self.root.mkdir(mode=0o700, parents=True)

    def new(self) -> Path:
        """Return a new path below the directory."""
        self._count += 1
        return self.root / str(self._count)

    def keep(self, path: Path, info: ObjectInfo) -> None:
        """Let something wait; `info` is what it turned out to be."""
        old = self._waiting.pop(info.ref, None)
        self._waiting[info.ref] = _Waiting(path, info)
        self._sizes.pop((info.ref, info.version), None)
        self._sizes[info.ref, info.version] = info.size_bytes
        if len(self._sizes) > SIZES_KEPT:
            self._sizes.popitem(last=False)
        if old is not None:
            files.remove(old.path)
        while len(self._waiting) > 1 and (len(self._waiting) > KEPT or self._bytes() > self.limit_bytes):
            files.remove(self._waiting.popitem(last=False)[1].path)

    def _bytes(self) -> int:
        return sum(one.info.size_bytes for one in self._waiting.values())

    def waiting(self, ref: ObjectRef) -> ObjectInfo | None:
        """Return what waits of an object."""
        found = self._waiting.get(ref)
        return None if found is None else found.info

    def size(self, ref: ObjectRef, version: str) -> int:
        """Return how large this version turned out to be, 0 if it was not read yet."""
        return self._sizes.get((ref, version), 0)

    def claim(self, info: ObjectInfo) -> Path | None:
        """Return where an object waits, if it is this version and size; it waits no longer."""
        found = self._waiting.get(info.ref)
        if found is None or (found.info.version, found.info.size_bytes) != (info.version, info.size_bytes):
            return None
        del self._waiting[info.ref]
        return found.path


def check_room(ref: ObjectRef, size_bytes: int, limit_bytes: int) -> None:
    """Refuse what can never be of use, for it is larger than there is room for.

    Raises:
        FixRequest: it is.
    """
    if size_bytes > limit_bytes:
        raise FixRequest(f"{ref}: it has more than {limit_bytes:,} bytes, which is all that there is room for")


def move(source: Path, target: Path, scratch: str = "") -> None:
    """Give what waited its place: by name on the same disk, else by a copy, made in `scratch` or beside its place. Blocks.

    Raises:
        DiskFull, FixRequest: it cannot be there; nothing is left of it.
    """
    partial = files.partial_path(target, scratch)
    try:
        try:
            files.place(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            shutil.move(source, partial)
            files.place(partial, target)
    except OSError as error:
        for path in (source, partial, target):
            files.remove(path)
        raise disk_error(error, target) from error


def disk_error(error: OSError, target: Path) -> DiskFull | FixRequest:
    """Return the port's error for one of this machine's disks."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"{target}: no space is left on the disk")
    return FixRequest(f"{target}: cannot be made: {error.strerror or error}")
