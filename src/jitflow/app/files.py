"""Single files and folders of far stores: what people do with them by hand."""

import posixpath
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

from jitflow.app.arrivals import Arrivals
from jitflow.app.names import check_namespace
from jitflow.app.ours import Guard, nobodys
from jitflow.app.refs import parse_ref
from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.model.files import Existence, Folder, Link, MultipartView, PartInfo
from jitflow.model.problems import Refused
from jitflow.ports.errors import ObjectMissing
from jitflow.ports.files import Files
from jitflow.ports.spending import NoSpending, Spending

_PAID_BYTES = 16 * 2**20
"""So many bytes of one file are paid for at once."""


class FileService:
    """The use-cases of files and folders; the references of all methods are texts, `remote:path`."""

    def __init__(
        self,
        files: Files,
        known: Callable[[str], object],
        arrivals: Arrivals,
        spending: Spending | None = None,
        guard: Guard = nobodys,
    ) -> None:
        """Hold the parts; `known` raises `Refused` for a remote that is not configured, `guard` for what is not to be written.

        `spending`: is told what moves.
        """
        self._guard = guard
        self._files = files
        self._spending = spending or NoSpending()
        self._known = known
        self.arrivals = arrivals

    def _ref(self, text: str, *, folder: bool = False) -> ObjectRef:
        ref = parse_ref(text if not folder or text.endswith((":", "/")) else f"{text}/")
        self._known(ref.remote)
        return ref

    def _file(self, text: str) -> ObjectRef:
        ref = self._ref(text)
        if ref.is_prefix:
            raise Refused(f"{text[:200]!r} names a folder; name a file, remote:path without a final /")
        return ref

    def _written(self, text: str, *, deletes: bool = False) -> ObjectRef:
        """Return a file that is to be written, or deleted."""
        ref = self._file(text)
        self._guard(ref, deletes)
        return ref

    async def exists(self, text: str) -> Existence:
        """Return whether a file or (with a final `/`, or if there is no such file) a folder is there."""
        ref = self._ref(text)
        if not ref.is_prefix:
            try:
                await self._files.stat(ref)
            except ObjectMissing:
                pass
            else:
                return Existence(ref=ref, exists=True, kind="file")
        folder = self._ref(text, folder=True)
        try:
            async with aclosing(self._files.list(folder)) as entries:  # pyright: ignore[reportArgumentType] - a generator
                async for _ in entries:
                    return Existence(ref=folder, exists=True, kind="folder")
        except ObjectMissing:
            return Existence(ref=ref, exists=False)
        return Existence(ref=ref, exists=await self._is_in_its_parent(folder))

    async def _is_in_its_parent(self, folder: ObjectRef) -> bool:
        """Return whether an empty folder is listed: stores without folders list nothing where nothing is."""
        if not folder.path:
            return True
        parent = posixpath.dirname(folder.path.rstrip("/"))
        above = ObjectRef(remote=folder.remote, path=f"{parent}/" if parent else "")
        try:
            return any([entry.ref.path == folder.path async for entry in self._files.list(above)])
        except ObjectMissing:
            return False

    async def stat(self, text: str) -> ObjectInfo:
        """Return what the store knows of a file."""
        return await self._files.stat(self._file(text))

    async def read(self, info: ObjectInfo, first: int, count: int, *, namespace: str = "default") -> AsyncGenerator[bytes]:
        """Yield a part of a file, for which a namespace pays.

        Raises:
            Refused: it has used up its budget (`exhausted`).
        """
        self._afford(namespace)
        meter = _Meter(self._spending, namespace, down=info.ref.remote)
        try:
            async with aclosing(self._files.read(info.ref, offset=first, count=count)) as chunks:  # pyright: ignore[reportArgumentType] - a generator
                async for chunk in chunks:
                    meter.add(len(chunk))
                    yield chunk
        finally:
            meter.settle()

    def _afford(self, namespace: str) -> None:
        """Refuse what a namespace has no budget left for."""
        check_namespace(namespace)
        spent = self._spending.used_up(namespace)
        if spent:
            raise Refused(f"nothing can be moved for it now: {spent}", code="exhausted")

    async def _store(self, path: Path, ref: ObjectRef, namespace: str) -> ObjectInfo:
        """Store a file of this machine, verified; what goes over the link is paid for, also if that fails."""
        meter = _Meter(self._spending, namespace, up=ref.remote)
        try:
            stored = await self._files.store(path, ref, meter)
            meter(stored.size_bytes)
        finally:
            meter.settle()
        return stored

    async def put(
        self,
        text: str,
        body: AsyncIterator[bytes],
        *,
        expected_bytes: int | None = None,
        md5: str = "",
        new: bool = False,
        namespace: str = "default",
    ) -> ObjectInfo:
        """Store a body as a file, verified; `new`: only if there is none yet; `namespace` pays.

        Raises:
            Refused: it is not what was announced, (`conflict`) there is such a file, or (`exhausted`) no budget is left.
            DiskFull, PortError: as they are.
        """
        ref = self._written(text)
        self._afford(namespace)
        if new:
            await self._absent(ref)
        path = await self.arrivals.take(body, expected_bytes=expected_bytes, md5=md5)
        try:
            return await self._store(path, ref, namespace)
        finally:
            path.unlink(missing_ok=True)

    async def keep(self, text: str, path: Path, *, namespace: str = "default") -> ObjectInfo:
        """Store a file of this machine that has arrived, verified; the caller removes it."""
        self._afford(namespace)
        return await self._store(path, self._written(text), namespace)

    async def _absent(self, ref: ObjectRef) -> None:
        try:
            await self._files.stat(ref)
        except ObjectMissing:
            return
        raise Refused(f"{ref} exists already", code="conflict")

    async def delete(self, text: str) -> None:
        """Delete a file.

        Raises:
            ObjectMissing: there is none.
        """
        ref = self._written(text, deletes=True)
        await self._files.stat(ref)
        await self._files.delete(ref)

    async def copy(self, source: str, destination: str, *, move: bool = False, namespace: str = "default") -> ObjectInfo:
        """Copy a file, verified; a destination that ends in `/` keeps its name. `move`: delete the source afterwards.

        A copy within one store goes over no link; for others `namespace` pays.
        """
        first, second = self._written(source, deletes=True) if move else self._file(source), self._ref(destination)
        self._guard(second, False)
        if second.is_prefix:
            second = ObjectRef(remote=second.remote, path=second.path + posixpath.basename(first.path))
        if first == second:
            raise Refused(f"{source[:200]} cannot be copied onto itself")
        within = first.remote == second.remote
        if not within:
            self._afford(namespace)
        meter = _Meter(NoSpending() if within else self._spending, namespace, down=first.remote, up=second.remote)
        try:
            copied = await self._files.copy(await self._files.stat(first), second, meter)
            meter(copied.written.size_bytes)
        finally:
            meter.settle()
        if move:
            await self._files.delete(first)
        return copied.written

    async def make_folder(self, text: str) -> Folder:
        """Make a folder, and those above it."""
        ref = self._ref(text, folder=True)
        self._guard(ref, False)
        return Folder(ref=ref, kept=await self._files.make_folder(ref))

    async def remove_folder(self, text: str, *, recursive: bool = False) -> None:
        """Remove a folder that holds nothing; `recursive`: with all that is in it.

        Raises:
            Refused: there is none (`not_found`), it is not empty (`conflict`), or it is the whole remote.
        """
        ref = self._ref(text, folder=True)
        if not ref.path:
            raise Refused(f"{text[:200]!r} is the whole remote; name a folder")
        self._guard(ref, True)
        if not (await self.exists(str(ref))).exists:
            raise Refused(f"there is no folder {text[:200]}", code="not_found")
        if recursive:
            await self._files.delete(ref)
        else:
            async for entry in self._files.list(ref):
                message = f"{ref} is not empty: it holds {entry.ref.path}; delete that first, or say recursive"
                raise Refused(message, code="conflict")
        await self._files.remove_folder(ref)

    async def link(self, text: str, expires_s: float | None) -> Link:
        """Return a URL by which anybody can read a file, for so long."""
        ref = self._file(text)
        await self._files.stat(ref)
        return Link(ref=ref, url=await self._files.link(ref, expires_s))

    # In parts.

    def begin(self, text: str) -> MultipartView:
        """Begin an upload in parts."""
        return self.arrivals.begin(self._written(text))

    async def put_part(
        self, upload: str, number: int, body: AsyncIterator[bytes], *, expected_bytes: int | None = None, md5: str = ""
    ) -> PartInfo:
        """Take a part."""
        return await self.arrivals.put(upload, number, body, expected_bytes=expected_bytes, md5=md5)

    async def complete(self, upload: str, *, namespace: str = "default") -> ObjectInfo:
        """Store all parts as one file, verified; if that fails the parts stay, and it can be tried again. `namespace` pays."""
        self._afford(namespace)
        ref, path = await self.arrivals.whole(upload)
        try:
            stored = await self._store(path, ref, namespace)
        finally:
            path.unlink(missing_ok=True)
        await self.arrivals.end(upload)
        return stored


class _Meter:
    """Charges a namespace for one file, now and then and at the end; to be called with the bytes that are done so far."""

    def __init__(self, spending: Spending, namespace: str, *, down: str = "", up: str = "") -> None:
        """Bytes come from the remote `down`, and go to the remote `up`; empty: from and to this machine."""
        self._spending = spending
        self._namespace = namespace
        self._ways = (("down", down), ("up", up))
        self._done = self._paid = 0
        for _, remote in self._ways:
            if remote:
                spending.moved(namespace, remote, requests=1)

    def __call__(self, done_bytes: int) -> None:
        self._done = max(self._done, done_bytes)
        if self._done - self._paid >= _PAID_BYTES:
            self.settle()

    def add(self, count: int) -> None:
        """So many more bytes are done."""
        self(self._done + count)

    def settle(self) -> None:
        """Charge what was not charged yet."""
        more, self._paid = self._done - self._paid, self._done
        for way, remote in self._ways:
            if remote and more:
                down, up = (more, 0) if way == "down" else (0, more)
                self._spending.moved(self._namespace, remote, down=down, up=up)
