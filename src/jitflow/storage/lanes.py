"""Several rclones side by side: one for everybody, and one of its own for each remote that has a limit of its own.

rclone holds a limit exactly, but only for all that one of its processes moves. What belongs to a remote with a limit of its own
goes through a process of its own from the moment when it has one; what was under way then ends in the common one, which is as
slow as that as long as it lasts. The limit for all together is divided among the processes that move something.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from jitflow.model.bandwidth import FREE, Rate
from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.ports.bulk import BulkOrder, Report
from jitflow.ports.errors import AccessRefused, PortError
from jitflow.ports.storage import Copied, Progress
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.remotes import Provider, RemoteConfig
from jitflow.storage.several import Several
from jitflow.storage.shares import DOWN, UP, Use, shares

COMMON = ""
"""The lane of all remotes without a limit of their own."""
FRESH_S = 1.0
"""A lane that was in use so recently counts as in use."""
PAUSE_S = 0.1
"""The limit is divided anew at most so often."""

log = logging.getLogger(__name__)
Make = Callable[[Iterable[RemoteConfig]], RcloneStorage]
Common = Callable[[Iterable[RemoteConfig]], RcloneStorage | Several]


_LOOKED_AT_ONCE = 50
"""Where so many objects lie is found out in the event loop: each takes some fifty microseconds."""


class Own(Protocol):
    """What of the stores is nobody's to read or write, through whatever remote: the server's own directory."""

    def concerns(self, remote: str) -> bool:
        """Return whether anything of a remote may be."""
        ...

    def check(self, ref: ObjectRef, *, whole: bool = False) -> None:
        """Return if an object, or a prefix, may be touched; `whole`: with all that is below it.

        Raises:
            AccessRefused: it may not.
        """
        ...


class _Nothing:
    """Implements `Own`: everything may be touched."""

    def concerns(self, remote: str) -> bool:
        del remote
        return False

    def check(self, ref: ObjectRef, *, whole: bool = False) -> None:
        del ref, whole


class Lanes:
    """Implements `Storage`, `Copying`, `Limiting` and `Bulk` over rclone storages, which it opens and closes."""

    def __init__(self, make: Make, remotes: Iterable[RemoteConfig] = (), *, common: Common | None = None) -> None:
        """Use `make` for each rclone, `common` for everybody's if that is another, or several.

        `remotes` are configured from the start.
        """
        self.own: Own = _Nothing()
        """Asked before anything is touched."""
        self._make = make
        self._common = (common or make)(remotes)
        self._lanes: dict[str, RcloneStorage | Several] = {COMMON: self._common}
        self._leaving: set[str] = set()
        """Lanes of remotes without a limit by now: they end when nothing moves in them."""
        self._total = FREE
        self._limits: dict[str, Rate] = {}
        self._apart: dict[str, Rate] = {}
        """Lanes of transfer jobs with a limit of their own; no remote is called like one of them."""
        self._uses: Counter[Use] = Counter()
        self._used_at: dict[Use, float] = {}
        self._changing = asyncio.Lock()
        self._stirred = asyncio.Event()
        self._divider: asyncio.Task[None] | None = None

    # -- life --------------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start the common rclone; see `RcloneStorage.open`."""
        await self._common.open()

    async def close(self) -> None:
        """Cancel what is under way and stop all of them."""
        if self._divider is not None:
            self._divider.cancel()
            with suppress(asyncio.CancelledError):
                await self._divider
        for storage in self._lanes.values():
            await storage.close()

    async def ready(self) -> None:
        """Return when the common rclone answers; see `RcloneStorage.ready`."""
        await self._common.ready()

    @property
    def remotes(self) -> tuple[str, ...]:
        """Return the names of the configured remotes."""
        return self._common.remotes

    @property
    def providers(self) -> Sequence[Provider]:
        """Return what rclone knows of the types of stores."""
        return self._common.providers

    async def describe_providers(self) -> bytes:
        """See `RcloneStorage.describe_providers`."""
        return await self._common.describe_providers()

    def config(self, name: str) -> RemoteConfig | None:
        """Return how a remote is configured, None if it is not."""
        return self._common.config(name)

    async def configure(self, remote: RemoteConfig) -> None:
        """Add a remote, or replace the one of that name; see `RcloneStorage.configure`."""
        async with self._changing:
            for storage in self._lanes.values():
                await storage.configure(remote)

    async def unconfigure(self, name: str) -> None:
        """Forget a remote; nothing of that name is no error."""
        async with self._changing:
            for storage in self._lanes.values():
                await storage.unconfigure(name)

    # -- limits ------------------------------------------------------------------------------------------------------------

    async def limit(self, total: Rate, remotes: Mapping[str, Rate]) -> None:
        """See `Limiting.limit`."""
        async with self._changing:
            known = {name: rate for name, rate in remotes.items() if self._common.config(name) is not None}
            for name in known.keys() - self._lanes.keys():
                storage = self._make(self._common.configs)
                await storage.open()
                self._lanes[name] = storage
            self._total, self._limits = total, {**known, **self._apart}
            self._leaving = self._lanes.keys() - self._limits.keys() - {COMMON}
            await self._divide()
        self._keep_dividing()

    def _keep_dividing(self) -> None:
        if self._divider is None and len(self._lanes) > 1:
            self._divider = asyncio.get_running_loop().create_task(self._divide_on(), name="divide the bandwidth")
        self._stirred.set()

    async def _divide(self) -> None:
        now = time.monotonic()
        fresh = {use for use, at in self._used_at.items() if now - at < FRESH_S}
        found = shares(self._total, self._limits, self._lanes, {*self._uses, *fresh})
        for lane, rate in found.items():
            await self._lanes[lane].limit(rate)

    async def _divide_on(self) -> None:
        """Divide the limit anew whenever something begins or has ended."""
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            try:
                async with self._changing:
                    await self._end_idle()
                    await self._divide()
            except PortError as error:
                log.warning("the limit of bandwidth could not be divided: %s", error)
                self._stirred.set()
                await asyncio.sleep(FRESH_S)
            await asyncio.sleep(PAUSE_S)

    async def _end_idle(self) -> None:
        busy = {lane for lane, _, _ in self._uses}
        for lane in self._leaving - busy:
            self._leaving.discard(lane)
            await self._lanes.pop(lane).close()

    @contextmanager
    def _using(self, *ways: tuple[str, str], own: str = "") -> Generator[RcloneStorage | Several]:
        """Give the rclone for remotes that are used each in a direction: that of the first one with a limit of its own.

        `own`: the lane to take, if it is open.
        """
        lane = own if own in self._apart else next((remote for remote, _ in ways if remote in self._limits), COMMON)
        uses = [(lane, remote, direction) for remote, direction in ways]
        for use in uses:
            self._began(use)
        try:
            yield self._lanes[lane]
        finally:
            for use in uses:
                self._ended(use)

    def _began(self, use: Use) -> None:
        self._uses[use] += 1
        if self._divider is not None and self._uses[use] == 1 and self._used_at.pop(use, None) is None:
            self._stirred.set()

    def _ended(self, use: Use) -> None:
        self._uses[use] -= 1
        if not self._uses[use]:
            del self._uses[use]
            if self._divider is not None:
                self._used_at[use] = time.monotonic()
                asyncio.get_running_loop().call_later(FRESH_S, self._rested, use)

    def _rested(self, use: Use) -> None:
        at = self._used_at.get(use)
        if at is not None and time.monotonic() - at >= FRESH_S * 0.9:
            del self._used_at[use]
            self._stirred.set()

    # -- whole trees -------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def lane(self, name: str, rate: Rate) -> AsyncGenerator[Callable[[Rate], None]]:
        """See `Bulk.lane`: an rclone of its own, which has its part of the limit for all together as well."""
        storage = self._make(self._common.configs)
        await storage.open()
        own = f"/{name}"

        def change(rate: Rate) -> None:
            self._apart[own] = self._limits[own] = rate
            self._stirred.set()

        try:
            async with self._changing:
                self._lanes[own] = storage
                self._apart[own] = self._limits[own] = rate
                await self._divide()
            self._keep_dividing()
            yield change
        finally:
            async with self._changing:
                for known in (self._apart, self._limits, self._lanes):
                    known.pop(own, None)
            await storage.close()

    async def check(self, rules: Sequence[str]) -> None:
        """See `Bulk.check`."""
        await self._common.bulk.check(rules)

    async def tree(self, prefix: ObjectRef, rules: Sequence[str] = (), *, hashes: bool = False) -> Sequence[ObjectInfo]:
        """See `Bulk.tree`."""
        self.own.check(prefix)
        return await self._common.tree(prefix, rules, hashes=hashes)

    async def perform(self, order: BulkOrder, report: Report) -> None:
        """See `Bulk.perform`."""
        await self._check_order(order)
        ways = [(order.source.remote, DOWN)]
        if order.destination is not None:
            ways.append((order.destination.remote, UP))
        with self._using(*ways, own=f"/{order.lane}" if order.lane else "") as storage:
            await storage.bulk.perform(order, report)

    async def _check_order(self, order: BulkOrder) -> None:
        """Raise if an order would touch what is nobody's."""
        source = order.source
        if order.destination is not None:
            self.own.check(order.destination)
        self.own.check(source)
        if not self.own.concerns(source.remote):
            return
        refs = [ObjectRef(remote=source.remote, path=source.path + path) for path in order.paths or ()]
        if order.paths is None:
            try:
                self.own.check(source, whole=True)
            except AccessRefused:  # what the rules let through of it may lie elsewhere all the same
                refs = [info.ref for info in await self._common.tree(source, order.rules)]
        for error in (await self._refused(refs)).values():
            raise error

    async def _refused(self, refs: Collection[ObjectRef]) -> dict[ObjectRef, AccessRefused]:
        """Return those of the objects that are nobody's, and why; many are looked at beside the event loop."""

        def look() -> dict[ObjectRef, AccessRefused]:
            found: dict[ObjectRef, AccessRefused] = {}
            for ref in refs:
                try:
                    self.own.check(ref)
                except AccessRefused as error:
                    found[ref] = error
            return found

        return look() if len(refs) <= _LOOKED_AT_ONCE else await asyncio.to_thread(look)

    # -- the port ----------------------------------------------------------------------------------------------------------

    async def stat(self, ref: ObjectRef) -> ObjectInfo:
        """See `Storage.stat`: questions are too small to be slowed down."""
        self.own.check(ref)
        return await self._common.stat(ref)

    async def stat_many(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, ObjectInfo | Exception]:
        """See `Storage.stat_many`."""
        near = {remote for remote in {ref.remote for ref in refs} if self.own.concerns(remote)}
        if not near:
            return await self._common.stat_many(refs)
        # Of what lies together one answer holds for all: nothing is read yet.
        folders = {ref: _folder_of(ref) for ref in refs if ref.remote in near}
        closed = await self._refused(set(folders.values()))
        found: dict[ObjectRef, ObjectInfo | Exception] = {ref: closed[at] for ref, at in folders.items() if at in closed}
        return {**await self._common.stat_many([ref for ref in refs if ref not in found]), **found}

    async def list(self, ref: ObjectRef, *, recursive: bool = False) -> AsyncIterator[ObjectInfo]:
        """See `Storage.list`."""
        self.own.check(ref)
        async for info in self._common.list(ref, recursive=recursive):
            yield info

    async def test(self, remote: str) -> None:
        """See `Storage.test`."""
        await self._common.test(remote)

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
        self.own.check(info.ref, whole=info.ref.is_prefix)
        with self._using((info.ref.remote, DOWN)) as storage:
            return await storage.fetch(info, target, progress, parts=parts, kept=kept, scratch=scratch)

    async def read(self, ref: ObjectRef, *, offset: int = 0, count: int | None = None) -> AsyncGenerator[bytes]:
        """See `Storage.read`."""
        self.own.check(ref)
        with self._using((ref.remote, DOWN)) as storage:
            async with aclosing(storage.read(ref, offset=offset, count=count)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def store(self, source: Path, ref: ObjectRef, progress: Progress) -> ObjectInfo:
        """See `Storage.store`."""
        self.own.check(ref)
        with self._using((ref.remote, UP)) as storage:
            return await storage.store(source, ref, progress)

    async def copy(self, info: ObjectInfo, target: ObjectRef, progress: Progress, *, parts: int = 1) -> Copied:
        """See `Copying.copy`."""
        self.own.check(info.ref, whole=info.ref.is_prefix)
        self.own.check(target)
        with self._using((info.ref.remote, DOWN), (target.remote, UP)) as storage:
            return await storage.copy(info, target, progress, parts=parts)

    async def make_folder(self, ref: ObjectRef) -> bool:
        """See `Files.make_folder`."""
        self.own.check(ref)
        return await self._common.make_folder(ref)

    async def remove_folder(self, ref: ObjectRef) -> None:
        """See `Files.remove_folder`."""
        self.own.check(ref)
        await self._common.remove_folder(ref)

    async def link(self, ref: ObjectRef, expires_s: float | None) -> str:
        """See `Files.link`."""
        self.own.check(ref)
        return await self._common.link(ref, expires_s)

    async def verify(self, source: Path, ref: ObjectRef) -> ObjectInfo | None:
        """See `Storage.verify`."""
        self.own.check(ref)
        return await self._common.verify(source, ref)

    async def delete(self, ref: ObjectRef) -> None:
        """See `Storage.delete`."""
        self.own.check(ref, whole=ref.is_prefix)
        await self._common.delete(ref)


def _folder_of(ref: ObjectRef) -> ObjectRef:
    """Return the prefix in which an object lies; of a prefix: itself."""
    return ref if ref.is_prefix else ObjectRef(remote=ref.remote, path=ref.path[: ref.path.rfind("/") + 1])
