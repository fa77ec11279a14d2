"""Copies and deletions of many files by one rclone job each.

A job is given the names of the files that are meant, or, where those are all that its rules let through, the rules. What it
has done is told by the statistics of a group of its own; those remember only the newest hundred files by name, so who wants to
know of each compares the listings afterwards.
"""

import asyncio
import secrets
import tempfile
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec

from jitflow.model.data import ObjectRef
from jitflow.model.jobs import Moving
from jitflow.ports.bulk import BulkOrder, BulkProgress, Report
from jitflow.ports.errors import FixRequest, PortError
from jitflow.storage import keys, wire
from jitflow.storage.calls import Calls
from jitflow.storage.faults import shorten
from jitflow.storage.lookup import Lookup, config_of
from jitflow.storage.rclone import Rclone

LOOK_S = 0.5
MOST_MOVING = 16
"""So many files on their way are told of."""


class BulkCalls:
    """The calls, through one rclone."""

    def __init__(self, daemon: Rclone, calls: Calls, lookup: Lookup) -> None:
        """Run copies and deletions as `calls`; `lookup` knows the remotes."""
        self._daemon = daemon
        self._calls = calls
        self._lookup = lookup

    async def check(self, rules: Sequence[str]) -> None:
        """See `Bulk.check`."""
        try:
            await self._daemon.call("rc/noop", {"_filter": wire.rules_filter(rules)}, subject="filters")
        except PortError as error:
            raise FixRequest(f"the filters cannot be read: {str(error).removeprefix('filters: ')}") from error

    async def perform(self, order: BulkOrder, report: Report) -> None:
        """See `Bulk.perform`."""
        group = f"bulk-{secrets.token_hex(8)}"
        seen = _Seen(report, self._daemon.redact)
        source = self._lookup.known(order.source)
        await self._lookup.traits(source)  # rclone's view of each remote is made with its own options
        at, target = keys.address(order.source), None
        if order.destination is not None:
            at, target = await self._ends(order.source, order.destination, small=order.small)
        subject = f"{order.source} to {order.destination}" if order.destination is not None else str(order.source)
        async with _chosen(order, self._daemon.names_dir) as chosen, self._looking(group, seen):
            request = wire.bulk_request(at, target, config_of(source), chosen, at_once=order.transfers)
            method = "operations/delete" if target is None else "sync/copy"
            await self._calls.run(method, request, subject=subject, group=group)

    async def _ends(self, source: ObjectRef, destination: ObjectRef, *, small: bool) -> tuple[keys.Address, keys.Address]:
        """Return both ends of a copy.

        A bucket is not asked about each small object that it has just taken: who ordered the copy looks there by a listing.
        """
        remote = self._lookup.known(destination)
        await self._lookup.traits(remote)
        options = "no_head=true" if small and remote.type == "s3" else ""
        # A store copies within itself only where both ends are called the same.
        at = keys.address(source, options=options if source.remote == destination.remote else "")
        return at, keys.address(destination, options=options)

    @asynccontextmanager
    async def _looking(self, group: str, seen: "_Seen") -> AsyncGenerator[None]:
        """Tell how far a group is, until the context ends; then once more, and forget the group."""
        looker = asyncio.get_running_loop().create_task(self._look_on(group, seen), name="look at a bulk transfer")
        try:
            yield
        finally:
            looker.cancel()
            with suppress(asyncio.CancelledError):
                await looker
            with suppress(PortError, msgspec.MsgspecError, TimeoutError):
                async with asyncio.timeout(LOOK_S * 4):
                    await self._look(group, seen)
                    await self._daemon.call("core/stats-delete", {"group": group}, subject="rclone")

    async def _look_on(self, group: str, seen: "_Seen") -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            with suppress(PortError, msgspec.MsgspecError):
                await self._look(group, seen)

    async def _look(self, group: str, seen: "_Seen") -> None:
        about = {"group": group}
        stats = wire.parse(await self._daemon.call("core/stats", about, subject="rclone"), wire.Stats)
        over = wire.parse(await self._daemon.call("core/transferred", about, subject="rclone"), wire.TransferredAnswer)
        seen.take(stats, over.transferred or ())


class _Seen:
    """What the looks at a group have shown."""

    def __init__(self, report: Report, redact: Callable[[str], str]) -> None:
        self._report = report
        self._redact = redact
        self._failed: dict[str, str] = {}

    def take(self, stats: wire.Stats, over: Sequence[wire.Transferred]) -> None:
        for one in over:
            if one.error:
                self._failed[one.name] = shorten(self._redact(one.error))
            else:
                self._failed.pop(one.name, None)
        moving = tuple(
            Moving(path=one.name, size_bytes=max(one.size, 0), done_bytes=one.bytes) for one in stats.transferring[:MOST_MOVING]
        )
        self._report(
            BulkProgress(
                moved_bytes=stats.bytes,
                within_bytes=stats.server_side_bytes,
                files_done=stats.transfers + stats.deletes,
                speed_Bps=stats.speed,
                moving=moving,
                failed=dict(self._failed),
            )
        )


@asynccontextmanager
async def _chosen(order: BulkOrder, folder: Path | None) -> AsyncGenerator[wire.Request]:
    """Give the `_filter` that lets through what an order names; the names lie in a file in `folder` meanwhile."""
    if order.paths is None:
        yield wire.rules_filter(order.rules)
        return
    odd = next((path for path in order.paths if "\n" in path or "\r" in path), None)
    if odd is not None:
        raise FixRequest(
            f"{_at(order.source, odd)!r}: a name with a line break cannot be chosen; rename it, or take the whole prefix"
        )
    with tempfile.NamedTemporaryFile("wb", prefix="jitflow-names-", dir=folder) as file:
        names = "".join(f"{path}\n" for path in order.paths).encode("utf-8", "surrogatepass")
        await asyncio.to_thread(Path(file.name).write_bytes, names)
        yield {"FilesFromRaw": [file.name]}


def _at(prefix: ObjectRef, path: str) -> str:
    return f"{prefix}{path}"
