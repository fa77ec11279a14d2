"""The primary as a directory of this machine.

    <root>/.jitflow-primary     says that the directory is ours
    <root>/objects/ab/<sha256>  complete, verified replicas: a file or a directory each
    <root>/incoming/<number>    what is on its way, in or out
    <root>/catalogue.jsonl      what the replicas are, for the day when nothing else knows
    <root>/incoming/<sha256>    what has come so far of a large replica

Nothing partial is ever below `objects`. Nothing else below the root is ever touched.
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Collection, Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

import msgspec

from jitflow.dataplane.names import is_location, location_of
from jitflow.model.data import ObjectInfo, ObjectRef, Replica, StepId
from jitflow.model.problems import Problem, Refused
from jitflow.ports.errors import Corrupt, DiskFull, FixRequest, ObjectMissing
from jitflow.ports.primary import Contents, Found, Held, Hoard, Lost, Received
from jitflow.ports.storage import LEAST_RANGED_BYTES, Progress, Storage, in_ranges

_CATALOGUE = "catalogue.jsonl"
_BLOCK_BYTES = 1 << 20
_MARKER = ".jitflow-primary"
_MARKER_TEXT = "This directory is a primary store of jitflow: it creates and deletes files in objects/ and incoming/.\n"
_NOTHING = Held(size_bytes=-1)


class PrimaryDirectory:
    """Files and directories below one root; implements `jitflow.ports.primary.Primary`."""

    def __init__(self, root: Path, storage: Storage) -> None:
        """Use this directory (`open` makes it), and `storage` to reach the far stores."""
        self.root = root
        self._root = str(root)
        """The same as text: paths are joined for every object, and as text that costs a tenth."""
        self._scratch = f"{root}/incoming"
        self._storage = storage
        self._count = 0

    @property
    def label(self) -> str:
        """See `Primary.label`."""
        return f"the disk of the primary ({self.root})"

    # -- life --------------------------------------------------------------------------------------------------------------

    async def open(self, keep: Collection[str] = ()) -> None:
        """See `Primary.open`."""
        await asyncio.to_thread(self._open, {self._kept(location).name for location in keep})

    def _open(self, keep: Collection[str]) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            marker = self.root / _MARKER
            marked = marker.exists()
            if not marked:
                stranger = next(iter(sorted(self.root.iterdir())), None)
                if stranger is not None:
                    message = f"the primary directory {self.root} is not empty ({stranger.name}) and was not made by jitflow"
                    raise Refused(Problem(message=message, remedy="name an empty or new directory"))
                marker.write_text(_MARKER_TEXT)
            self._clear_incoming(keep)
            (self.root / "objects").mkdir(exist_ok=True)
            if not marked:
                for number in range(256):
                    (self.root / "objects" / f"{number:02x}").mkdir(exist_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            message = f"the primary directory {self.root} cannot be used: {reason}"
            raise Refused(Problem(message=message, remedy="name a directory that this user may write")) from error

    def _clear_incoming(self, keep: Collection[str]) -> None:
        incoming = self.root / "incoming"
        if incoming.is_dir() and not incoming.is_symlink():
            for entry in incoming.iterdir():
                if entry.name not in keep:
                    delete(entry)
        incoming.mkdir(exist_ok=True)

    async def close(self) -> None:
        """See `Primary.close`."""

    # -- what is there -----------------------------------------------------------------------------------------------------

    def location(self, ref: ObjectRef, token: str) -> str:
        """See `Primary.location`."""
        return location_of(ref, token)

    async def contents(self, *, quick: bool = False) -> AsyncIterator[Contents]:
        """See `Primary.contents`: a shelf at a time."""
        yield await asyncio.to_thread(self._beside)
        for shelf in await asyncio.to_thread(os.listdir, self.root / "objects"):
            yield await asyncio.to_thread(self._shelf, shelf, quick=quick)

    def _beside(self) -> Contents:
        """Return what is not among the replicas."""
        ours = {_MARKER, _CATALOGUE, "objects", "incoming"}
        return Contents(
            held={}, strangers={entry.name: measure(entry) for entry in self.root.iterdir() if entry.name not in ours}
        )

    def _shelf(self, shelf: str, *, quick: bool) -> Contents:
        folder = f"objects/{shelf}"
        names = [folder]
        if (self.root / folder).is_dir() and not (self.root / folder).is_symlink():
            names = [f"{folder}/{name}" for name in os.listdir(self.root / folder)]
        held: dict[str, Held | None] = {}
        strangers: dict[str, int] = {}
        for name in names:
            if is_location(name):
                held[name] = None if quick else look(self.root / name)
            else:
                strangers[name] = measure(self.root / name)
        return Contents(held=held, strangers=strangers)

    async def digest(self, location: str, kind: str) -> str:
        """See `Primary.digest`."""
        return await asyncio.to_thread(digest, self.root / location, kind)

    async def remember(self, rows: Iterable[Replica]) -> None:
        """See `Primary.remember`."""
        await asyncio.to_thread(self._remember, rows)

    def _remember(self, rows: Iterable[Replica]) -> None:
        partial = self._incoming()
        write_rows(partial, rows)
        partial.replace(self.root / _CATALOGUE)

    async def remembered(self) -> Sequence[Replica]:
        """See `Primary.remembered`."""
        return await asyncio.to_thread(self._remembered)

    def _remembered(self) -> Sequence[Replica]:
        with contextlib.suppress(OSError):
            return read_rows((self.root / _CATALOGUE).read_bytes())
        return ()

    def hoard(self, place: str) -> Hoard:
        """See `Primary.hoard`."""
        folder = Path(place)
        if not folder.is_absolute():
            raise Refused(Problem(message=f"{place!r} is no absolute path", remedy="name a directory of the server's machine"))
        if folder.resolve().is_relative_to(self.root.resolve()):
            raise Refused(Problem(message=f"{place} lies in the primary", remedy="name a directory outside of it"))
        return DirectoryHoard(folder, self.root)

    def local(self, location: str) -> Path | None:
        """See `Primary.local`."""
        return self.root / location

    def remote(self, location: str) -> ObjectRef | None:
        """See `Primary.remote`."""
        del location
        return None

    def free_bytes(self) -> int | None:
        """See `Primary.free_bytes`."""
        stat = os.statvfs(self.root)
        return stat.f_bavail * stat.f_frsize

    # -- in and out --------------------------------------------------------------------------------------------------------

    def _kept(self, location: str) -> Path:
        return Path(self._kept_name(location))

    def _kept_name(self, location: str) -> str:
        return f"{self._root}/incoming/{location.rpartition('/')[2]}"

    def begun(self, location: str) -> bool:
        """See `Primary.begun`."""
        return os.path.isdir(self._kept_name(location))

    def forget(self, location: str) -> None:
        """See `Primary.forget`: a directory with two files."""
        delete(self._kept(location))

    async def receive(self, info: ObjectInfo, location: str, progress: Progress, *, parts: int = 1) -> Received:
        """See `Primary.receive`: a small file has its final name from the storage, for to rename it once more costs much."""
        if info.size_bytes >= LEAST_RANGED_BYTES or info.ref.is_prefix:
            return await self._receive_large(info, location, progress, parts)
        target = f"{self._root}/{location}"
        try:
            read = await self._storage.fetch(info, target, progress, scratch=self._scratch)
            held = look(target)
            check_size(info, held.size_bytes)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(delete, Path(target)))
            raise
        return Received(read=read, held=held)

    async def _receive_large(self, info: ObjectInfo, location: str, progress: Progress, parts: int) -> Received:
        temporary = self._incoming()
        try:
            kept = self._kept(location) if in_ranges(info, parts) or self.begun(location) else None
            read = await self._storage.fetch(info, temporary, progress, parts=parts, kept=kept)
            held = await asyncio.to_thread(look, temporary) if info.ref.is_prefix else look(temporary)
            check_size(info, held.size_bytes)
            self._place(temporary, location)
        except BaseException as error:
            await asyncio.shield(asyncio.to_thread(delete, temporary))
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(f"no space is left on {self.label}") from error
            raise
        return Received(read=read, held=held)

    async def share(self, replica: Replica, location: str) -> Held:
        """See `Primary.share`: another name of the same file."""
        if replica.ref.is_prefix:
            raise FixRequest(f"{replica.ref} is a tree, which cannot have a second name")
        source = self._intact([replica])[replica.location]
        target = self.root / location
        target.parent.mkdir(exist_ok=True)
        target.hardlink_to(source)
        return look(target)

    async def take(self, source: Path, location: str) -> Held:
        """See `Primary.take`: by name where it lies on the same file system, else by a copy."""
        return await asyncio.to_thread(self._take, source, location)

    def _take(self, source: Path, location: str) -> Held:
        try:
            self._place(source, location)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            copy = self._incoming()
            try:
                if source.is_dir():
                    shutil.copytree(source, copy, symlinks=True)
                else:
                    shutil.copyfile(source, copy)
                self._place(copy, location)
            except BaseException:
                delete(copy)
                raise
            delete(source)
        return look(self.root / location)

    async def send(self, location: str, ref: ObjectRef, progress: Progress) -> ObjectInfo:
        """See `Primary.send`."""
        return await self._storage.store(self.root / location, ref, progress)

    def _incoming(self) -> Path:
        """Return a new path for something on its way."""
        self._count += 1
        return Path(f"{self._root}/incoming/{self._count}")

    def _place(self, source: Path, location: str) -> None:
        """Give something complete its final name, in one step; it must lie on the primary's file system."""
        target = f"{self._root}/{location}"
        try:
            os.rename(source, target)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.rename(source, target)

    def remove(self, location: str) -> Coroutine[Any, Any, None] | None:
        """See `Primary.remove`: a file at once, a tree out of the way and in the background."""
        path = self.root / location
        try:
            path.unlink()
        except FileNotFoundError:
            return None
        except (IsADirectoryError, PermissionError):
            trash = self._incoming()
            path.rename(trash)
            return asyncio.to_thread(delete, trash)
        return None

    # -- to pods -----------------------------------------------------------------------------------------------------------

    def at_hand(self, replicas: Sequence[Replica]) -> dict[str, str] | None:
        """See `Primary.at_hand`: files are looked at now, trees take longer."""
        if any(one.ref.is_prefix for one in replicas):
            return None
        return self._intact(replicas)

    async def deliver(self, step: StepId, replicas: Sequence[Replica]) -> dict[str, str]:
        """See `Primary.deliver`."""
        del step
        return await asyncio.to_thread(self._intact, replicas)

    def _intact(self, replicas: Sequence[Replica]) -> dict[str, str]:
        paths: dict[str, str] = {}
        lost: list[Replica] = []
        for one in replicas:
            path = paths[one.location] = f"{self._root}/{one.location}"
            if not same(one, look(path)):
                lost.append(one)
        if lost:
            names = ", ".join(str(one.ref) for one in lost[:3])
            raise Lost(f"somebody has changed or removed files of the primary: {names}", [one.location for one in lost])
        return paths

    def resume(self, step: StepId, replicas: Sequence[Replica]) -> None:
        """See `Primary.resume`: what is read in place needs nothing."""

    async def settle(self) -> None:
        """See `Primary.settle`."""

    def give_back(self, step: StepId) -> None:
        """See `Primary.give_back`."""


class DirectoryHoard:
    """Files below a directory of this machine; implements `jitflow.ports.primary.Hoard`."""

    def __init__(self, folder: Path, root: Path) -> None:
        """Give them to the primary at `root`."""
        self._folder = folder
        self._root = root

    async def files(self) -> Sequence[Found]:
        """See `Hoard.files`: regular files only."""
        return await asyncio.to_thread(self._files)

    def _files(self) -> Sequence[Found]:
        if not self._folder.is_dir():
            raise ObjectMissing(f"{self._folder} is no directory of the server's machine")
        found: list[Found] = []
        for folder, folders, names in os.walk(self._folder):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                seen = os.lstat(path)
                if S_ISREG(seen.st_mode):
                    modified = datetime.fromtimestamp(seen.st_mtime_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                    found.append(Found(name=os.path.relpath(path, self._folder), size_bytes=seen.st_size, modified=modified))
        return found

    async def digest(self, name: str, kind: str) -> str:
        """See `Hoard.digest`."""
        return await asyncio.to_thread(digest, self._folder / name, kind)

    async def adopt(self, name: str, location: str, *, move: bool) -> Held:
        """See `Hoard.adopt`."""
        return await asyncio.to_thread(self._adopt, self._folder / name, self._root / location, move=move)

    def _adopt(self, source: Path, target: Path, *, move: bool) -> Held:
        target.parent.mkdir(exist_ok=True)
        try:
            if move:
                source.rename(target)
            else:
                target.hardlink_to(source)
        except OSError as error:
            if error.errno == errno.EXDEV:
                raise FixRequest(f"{source} lies on another file system than the primary; stage its object instead") from error
            raise FixRequest(f"{source} cannot be adopted: {error.strerror or error}") from error
        return look(target)


def write_rows(path: Path, rows: Iterable[Replica]) -> None:
    """Write a catalogue, one row a line: it may be larger than what should be in memory at once. Blocks."""
    encoder = msgspec.json.Encoder()
    with path.open("wb") as file:
        for row in rows:
            file.write(encoder.encode(row))
            file.write(b"\n")


def read_rows(data: bytes | bytearray) -> list[Replica]:
    """Return the rows of a catalogue; a line that cannot be read is left out."""
    decoder = msgspec.json.Decoder(Replica)
    rows: list[Replica] = []
    for line in data.splitlines():
        with contextlib.suppress(msgspec.DecodeError, msgspec.ValidationError):
            rows.append(decoder.decode(line))
    return rows


def digest(path: Path, kind: str) -> str:
    """Return a file's hash, empty if there is no such file or hash. Blocks."""
    try:
        made = hashlib.new(kind, usedforsecurity=False)
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                made.update(block)
    except (OSError, ValueError):
        return ""
    return made.hexdigest()


def check_size(info: ObjectInfo, size_bytes: int) -> None:
    """Compare what has come with what was announced.

    Raises:
        Corrupt: it has another size.
    """
    if size_bytes != info.size_bytes:
        raise Corrupt(f"{info.ref} arrived with {size_bytes:,} bytes instead of {info.size_bytes:,}")


def same(replica: Replica, held: Held) -> bool:
    """Return whether what lies at a replica's location is still the replica, as far as size and stamp tell."""
    if replica.size_bytes != held.size_bytes:
        return False
    kind, _, value = replica.stamp.partition(":")
    kind_now, _, value_now = held.stamp.partition(":")
    return kind != kind_now or value == value_now


def look(path: Path | str) -> Held:
    """Return the size and stamp of a file or a tree; -1 bytes if there is nothing. Links count as what they are."""
    try:
        seen = os.lstat(path)
        if not S_ISDIR(seen.st_mode):
            return Held(size_bytes=seen.st_size, stamp=f"mtime:{seen.st_mtime_ns}")
    except OSError:
        return _NOTHING
    total = 0
    digest = hashlib.sha1(usedforsecurity=False)
    for folder, folders, files in os.walk(path):
        folders.sort()
        for name in sorted(files):
            seen = os.lstat(os.path.join(folder, name))
            total += seen.st_size
            digest.update(f"{os.path.relpath(folder, path)}/{name}\0{seen.st_size} {seen.st_mtime_ns}\0".encode(errors="replace"))
    return Held(size_bytes=total, stamp=f"tree:{digest.hexdigest()}")


def measure(path: Path) -> int:
    """Return the bytes of a file, or of all files below a directory; -1 if there is nothing.

    Symbolic links count as what they are, not as what they point to.
    """
    try:
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
    except OSError:
        return -1
    total = 0
    for folder, _, files in os.walk(path):
        total += sum(os.lstat(os.path.join(folder, name)).st_size for name in files)
    return total


def delete(path: Path) -> None:
    """Remove a file or a tree; nothing there is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
