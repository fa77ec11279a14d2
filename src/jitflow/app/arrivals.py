"""Bytes that arrive from a client: they wait in a directory of this machine until all are here, and only then go to their store.

So a body that is cut off, a disk that fills or a store that refuses leaves nothing under the final name.
"""

import asyncio
import base64
import errno
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from io import BufferedWriter
from pathlib import Path
from typing import Any

import msgspec

from jitflow.model.data import ObjectRef
from jitflow.model.files import MultipartView, PartInfo
from jitflow.model.problems import Refused
from jitflow.ports.clock import Clock, Ids
from jitflow.ports.errors import DiskFull

BUFFER_BYTES = 2**20
MOST_PARTS = 10_000
MOST_UPLOADS = 1_000
KEPT_S = 7 * 86_400.0
_META, _WHOLE, _PARTIAL = "upload.json", "whole", ".partial"


class Arrivals:
    """A directory of what arrives. `open` it before use."""

    def __init__(self, root: Path, free_floor_bytes: int, clock: Clock, ids: Ids) -> None:
        """Use `root`, on whose disk so many bytes are left free."""
        self._root = root
        self._floor = free_floor_bytes
        self._clock = clock
        self._ids = ids

    def open(self) -> None:
        """Make the directory for its owner only; remove what was half-written, and uploads that nobody goes on with.

        Raises:
            OSError: it cannot be made.
        """
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._root.rglob(f"*{_PARTIAL}"):
            left.unlink(missing_ok=True)
        self._tidy()

    # -- one body -----------------------------------------------------------------------------------------------------

    async def take(self, body: AsyncIterator[bytes], *, expected_bytes: int | None = None, md5: str = "") -> Path:
        """Write a body to a new file and return that; the caller removes it. `md5`: base64 of what it must have.

        Raises:
            DiskFull, Refused: it does not fit, or is not what was announced; nothing is left.
        """
        path = self._root / f"{self._ids.uid()}{_PARTIAL}"
        await self._write(path, body, expected_bytes, md5)
        return path

    async def _write(self, path: Path, body: AsyncIterator[bytes], expected_bytes: int | None, md5: str) -> PartInfo:
        """Write a body; return its size and hash as of a part without a number."""
        self._check_room(expected_bytes or 0)
        digest, size, held = hashlib.md5(usedforsecurity=False), 0, bytearray()
        try:
            with await asyncio.to_thread(path.open, "xb") as file:
                async for chunk in body:
                    held += chunk
                    if len(held) >= BUFFER_BYTES:
                        size += len(held)
                        self._check_room(len(held))
                        await asyncio.to_thread(_append, file, digest, held)
                        held = bytearray()
                size += len(held)
                await asyncio.to_thread(_append, file, digest, held)
            _as_announced(size, digest.digest(), expected_bytes, md5)
        except OSError as error:
            _forget(path)
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise self._full() from error
            raise
        except BaseException:
            _forget(path)
            raise
        return PartInfo(number=0, size_bytes=size, md5=digest.hexdigest())

    def _check_room(self, needed_bytes: int) -> None:
        space = os.statvfs(self._root)
        if space.f_bavail * space.f_frsize < needed_bytes + self._floor:
            raise self._full()

    def _full(self) -> DiskFull:
        return DiskFull("the disk on which uploads arrive is full; nothing was stored. Free some space and send it again")

    # -- bodies in parts ----------------------------------------------------------------------------------------------

    def begin(self, ref: ObjectRef) -> MultipartView:
        """Begin an upload in parts.

        Raises:
            Refused: too many are open.
        """
        self._tidy()
        if sum(1 for _ in self._root.glob(f"*/{_META}")) >= MOST_UPLOADS:
            raise Refused(f"{MOST_UPLOADS:,} uploads in parts are open; complete or abort some", code="unavailable")
        view = MultipartView(id=self._ids.uid(), ref=str(ref), created_at=self._clock.now())
        folder = self._root / view.id
        folder.mkdir(mode=0o700)
        (folder / _META).write_bytes(msgspec.json.encode(view))
        return view

    def get(self, upload: str) -> MultipartView:
        """Return an upload with the parts that have arrived.

        Raises:
            Refused: there is none (`not_found`).
        """
        folder = self._folder(upload)
        meta = msgspec.json.decode((folder / _META).read_bytes(), type=MultipartView)
        parts = [msgspec.json.decode(file.read_bytes(), type=PartInfo) for file in sorted(folder.glob("part-*.json"))]
        return msgspec.structs.replace(meta, parts=tuple(parts))

    async def put(
        self, upload: str, number: int, body: AsyncIterator[bytes], *, expected_bytes: int | None = None, md5: str = ""
    ) -> PartInfo:
        """Take a part, in the place of one of the same number.

        Raises:
            Refused: there is no such upload, or the number cannot be. DiskFull.
        """
        folder = self._folder(upload)
        if not 1 <= number <= MOST_PARTS:
            raise Refused(f"a part's number is 1 to {MOST_PARTS:,}")
        partial = folder / f"{self._ids.uid()}{_PARTIAL}"
        info = msgspec.structs.replace(await self._write(partial, body, expected_bytes, md5), number=number)
        described = folder / f"part-{number:05d}.json"
        described.unlink(missing_ok=True)  # data without a description counts as not arrived
        partial.replace(folder / f"part-{number:05d}")
        described.write_bytes(msgspec.json.encode(info))
        return info

    async def whole(self, upload: str) -> tuple[ObjectRef, Path]:
        """Return the reference of an upload, and a file of all its parts; `end` removes both.

        Raises:
            Refused: there is none, or a part is missing. DiskFull: the parts stay.
        """
        view = self.get(upload)
        numbers = [part.number for part in view.parts]
        if not numbers or numbers != list(range(1, len(numbers) + 1)):
            missing = next((n for n in range(1, len(numbers) + 2) if n not in set(numbers)), 1)
            raise Refused(f"part {missing} of the upload {upload} has not arrived", code="conflict")
        self._check_room(sum(part.size_bytes for part in view.parts))
        folder = self._root / view.id
        try:
            await asyncio.to_thread(_join, folder, numbers)
        except OSError as error:
            _forget(folder / _WHOLE)
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise self._full() from error
            raise
        remote, _, path = view.ref.partition(":")
        return ObjectRef(remote=remote, path=path), folder / _WHOLE

    async def end(self, upload: str) -> None:
        """Forget an upload and its parts.

        Raises:
            Refused: there is none (`not_found`).
        """
        await asyncio.to_thread(shutil.rmtree, self._folder(upload), ignore_errors=True)

    def _folder(self, upload: str) -> Path:
        folder = self._root / upload
        if not upload or set(upload) - set("0123456789abcdef-") or not (folder / _META).is_file():
            message = f"there is no upload {upload[:60]!r}; it was completed, aborted, or nobody went on with it"
            raise Refused(message, code="not_found")
        return folder

    def _tidy(self) -> None:
        oldest = self._clock.now() - KEPT_S
        for meta in self._root.glob(f"*/{_META}"):
            with suppress(OSError):
                if max(file.stat().st_mtime for file in meta.parent.iterdir()) < oldest:
                    shutil.rmtree(meta.parent, ignore_errors=True)


def _as_announced(size: int, digest: bytes, expected_bytes: int | None, md5: str) -> None:
    if expected_bytes is not None and size != expected_bytes:
        raise Refused(f"the body has {size} bytes, and {expected_bytes} were announced; nothing was stored")
    if md5 and base64.b64encode(digest).decode() != md5.strip():
        raise Refused("the body has another MD5 than Content-MD5 says; nothing was stored")


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)


def _append(file: BufferedWriter, digest: Any, data: bytearray) -> None:
    digest.update(data)
    file.write(data)
    file.flush()


def _join(folder: Path, numbers: list[int]) -> None:
    with (folder / _WHOLE).open("wb") as out:
        for number in numbers:
            with (folder / f"part-{number:05d}").open("rb") as part:
                shutil.copyfileobj(part, out, BUFFER_BYTES)
