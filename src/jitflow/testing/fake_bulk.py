"""Whole trees of objects in memory; implements `jitflow.ports.bulk.Bulk`."""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase

from jitflow.model.bandwidth import Rate
from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.model.jobs import Moving
from jitflow.ports.bulk import BulkOrder, BulkProgress, Report
from jitflow.ports.errors import FixRequest, PortError, RemoteUnknown, Unreachable

_MODIFIED = "2026-01-01T00:00:00Z"


class FakeBulk:
    """Rules know `*` and exact paths only. What a test sets decides what goes wrong."""

    def __init__(self, *remotes: str) -> None:
        """Begin with empty remotes."""
        self.stores: dict[str, dict[str, bytes]] = {name: {} for name in remotes}
        self.failing: dict[str, str] = {}
        """Paths that cannot be copied or deleted, and why."""
        self.broken: list[PortError] = []
        """What the next calls of `perform` raise before they do anything."""
        self.breaks_after: int | None = None
        """After so many files the next `perform` raises `Unreachable`, once."""
        self.gate: asyncio.Event | None = None
        """What each file waits for."""
        self.done: list[str] = []
        """What was copied or deleted, in order: `remote:path`."""
        self.working = self.most_working = 0
        self.lanes: dict[str, list[Rate]] = {}

    def _store(self, remote: str) -> dict[str, bytes]:
        if remote not in self.stores:
            raise RemoteUnknown(f"no remote named {remote!r} is configured")
        return self.stores[remote]

    async def check(self, rules: Sequence[str]) -> None:
        """See `Bulk.check`."""
        for rule in rules:
            if not re.match(r"[-+] ", rule) or rule.count("[") != rule.count("]"):
                raise FixRequest(f"the filters cannot be read: {rule!r}")

    async def tree(self, prefix: ObjectRef, rules: Sequence[str] = (), *, hashes: bool = False) -> Sequence[ObjectInfo]:
        """See `Bulk.tree`."""
        found = self._store(prefix.remote)
        await asyncio.sleep(0)
        return [
            _info(prefix.remote, path, found[path])
            for path in sorted(found)
            if path.startswith(prefix.path) and _let_through(path.removeprefix(prefix.path), rules)
        ]

    async def perform(self, order: BulkOrder, report: Report) -> None:
        """See `Bulk.perform`."""
        source = self._store(order.source.remote)
        target = self._store(order.destination.remote) if order.destination is not None else None
        if self.broken:
            raise self.broken.pop(0)
        names = order.paths
        if names is None:
            names = [info.ref.path.removeprefix(order.source.path) for info in await self.tree(order.source, order.rules)]
        self.working += 1
        self.most_working = max(self.most_working, self.working)
        try:
            await self._each(order, names, source, target, report)
        finally:
            self.working -= 1

    async def _each(
        self,
        order: BulkOrder,
        names: Sequence[str],
        source: dict[str, bytes],
        target: dict[str, bytes] | None,
        report: Report,
    ) -> None:
        moved = done = 0
        failed: dict[str, str] = {}
        for name in names:
            await asyncio.sleep(0)
            path = order.source.path + name
            report(BulkProgress(moved_bytes=moved, files_done=done, moving=(Moving(path=name, size_bytes=1, done_bytes=0),)))
            if self.gate is not None:
                await self.gate.wait()
            if self.breaks_after is not None and done >= self.breaks_after:
                self.breaks_after = None
                raise Unreachable("the store does not answer")
            if name in self.failing:
                failed[name] = self.failing[name]
                continue
            data = source.get(path)
            if data is None:
                continue
            if target is None or order.destination is None:
                del source[path]
            else:
                target[order.destination.path + name] = data
                moved += len(data)
            self.done.append(f"{order.source.remote}:{path}")
            done += 1
        report(BulkProgress(moved_bytes=moved, files_done=done, failed=failed))
        if failed:
            raise FixRequest(f"{len(failed)} files failed")

    @asynccontextmanager
    async def lane(self, name: str, rate: Rate) -> AsyncGenerator[Callable[[Rate], None]]:
        """See `Bulk.lane`."""
        self.lanes[name] = [rate]
        yield self.lanes[name].append


def _info(remote: str, path: str, data: bytes) -> ObjectInfo:
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    ref = ObjectRef(remote=remote, path=path)
    return ObjectInfo(ref=ref, size_bytes=len(data), modified=_MODIFIED, hashes={"md5": digest}, version=digest)


def _let_through(path: str, rules: Sequence[str]) -> bool:
    for rule in rules:
        pattern = rule[2:]
        if pattern.startswith("/"):
            fits = re.sub(r"\\(.)", r"\1", pattern[1:]) == path
        else:
            fits = fnmatchcase(path.rpartition("/")[2], pattern)
        if fits:
            return rule.startswith("+")
    return True
