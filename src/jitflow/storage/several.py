"""Several rclones that others run, as one: for load, and to keep what must not disturb each other apart.

Each of them is given all remotes, for a copy between two needs both. Whose turn it is follows from the remote: the rclones that
name it, else those that name none; among them the one that does least of those that are there.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from jitflow.model.bandwidth import Rate
from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.ports.bulk import BulkOrder, Report
from jitflow.ports.errors import Broken, Retryable, Unreachable
from jitflow.ports.storage import Copied, Progress
from jitflow.storage.rclone import READY_WAIT_S
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.remotes import Provider, RemoteConfig

LOOK_EVERY_S = 0.1
STOOD_IN_FOR_S = 1.0
"""So long calls wait for one that is away, and for which others stand in."""
_T = TypeVar("_T")


class Member:
    """One of them. `patterns`: the names of the remotes whose objects go through it, with `*`; none: those that nobody names."""

    def __init__(self, name: str, storage: RcloneStorage, patterns: Sequence[str] = ()) -> None:
        """Hold it; it is not opened yet."""
        self.name = name
        self.storage = storage
        self.patterns = tuple(patterns)
        self.uses = 0

    def names(self, remote: str) -> bool:
        """Return whether it names a remote."""
        return any(fnmatchcase(remote, pattern) for pattern in self.patterns)


class Several:
    """Looks like one `RcloneStorage`. What goes on when one of them is away is said at `open` and `_turn`."""

    def __init__(self, members: Sequence[Member], *, patience_s: float = 30.0) -> None:
        """Hold them; at least one names no remotes. `patience_s`: so long `open` waits until one is there."""
        self._patience_s = patience_s
        assert any(not member.patterns for member in members), "somebody takes what nobody names"
        self._members = tuple(members)
        for member in self._members:
            if sum(one.patterns == member.patterns for one in self._members) > 1:
                member.storage.wait_at_most(STOOD_IN_FOR_S)
        self.bulk = self
        """Copies and deletions of many files at once."""

    # -- life ----------------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open all of them, and return when one is there at least; the others come when they come.

        Raises:
            Broken: one cannot be used, or none is there in time. Refused: a remote makes no sense.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for member in self._members:
                    tasks.create_task(member.storage.open())
        except ExceptionGroup as group:
            await self.close()
            raise group.exceptions[0] from group
        except BaseException:
            await self.close()
            raise
        limit = time.monotonic() + self._patience_s
        while not self.is_up:
            if time.monotonic() > limit:
                reasons = "; ".join(dict.fromkeys(one.storage.trouble for one in self._members if one.storage.trouble))
                await self.close()
                raise Broken(f"no rclone is there: {reasons}; waited {self._patience_s:g} s")
            await asyncio.sleep(LOOK_EVERY_S)

    async def close(self) -> None:
        """Cancel what is under way and call them no more."""
        for member in self._members:
            await member.storage.close()

    async def ready(self) -> None:
        """Return when one of them answers.

        Raises:
            PortError: none does.
        """
        there = [member for member in self._members if member.storage.is_up]
        await (there or self._members)[0].storage.ready()

    @property
    def is_up(self) -> bool:
        """Whether one of them is there."""
        return any(member.storage.is_up for member in self._members)

    @property
    def _first(self) -> RcloneStorage:
        """Return one that has been there, for what all of them know."""
        return next((one.storage for one in self._members if one.storage.providers), self._members[0].storage)

    @property
    def remotes(self) -> tuple[str, ...]:
        """Return the names of the configured remotes."""
        return self._first.remotes

    @property
    def configs(self) -> tuple[RemoteConfig, ...]:
        """Return how all remotes are configured."""
        return self._first.configs

    @property
    def providers(self) -> Sequence[Provider]:
        """Return what rclone knows of the types of stores."""
        return self._first.providers

    async def describe_providers(self) -> bytes:
        """See `RcloneStorage.describe_providers`."""
        return await self._any((), lambda storage: storage.describe_providers())

    def config(self, name: str) -> RemoteConfig | None:
        """Return how a remote is configured, None if it is not."""
        return self._first.config(name)

    async def configure(self, remote: RemoteConfig) -> None:
        """Add a remote, or replace the one of that name; who is away is given it when it is back.

        Raises:
            Refused: it makes no sense to rclone; nothing was changed. PortError: none of them is there.
        """
        away: list[Member] = []
        for member in self._in_turn():
            if not member.storage.is_up and len(away) < len(self._members) - 1:
                away.append(member)
                continue
            try:
                await member.storage.configure(remote)
            except Retryable:
                if len(away) == len(self._members) - 1:
                    raise
                away.append(member)
        for member in away:
            member.storage.remember(remote)

    async def unconfigure(self, name: str) -> None:
        """Forget a remote; nothing of that name is no error."""
        for member in self._members:
            if member.storage.is_up:
                with suppress(Retryable):  # then it comes back without it
                    await member.storage.unconfigure(name)
            member.storage.forget(name)

    async def limit(self, rate: Rate) -> None:
        """Let all together move no more than this: each a part, for none knows of the others."""
        count = len(self._members)
        part = Rate(up_Bps=rate.up_Bps and rate.up_Bps // count, down_Bps=rate.down_Bps and rate.down_Bps // count)
        for member in self._members:
            member.storage.remember_limit(part)
            if member.storage.is_up:
                with suppress(Retryable):  # then it comes back with it
                    await member.storage.limit(part)

    # -- whose turn it is ----------------------------------------------------------------------------------------------------

    def _in_turn(self) -> list[Member]:
        """Return all of them, those that are there first."""
        return sorted(self._members, key=lambda member: not member.storage.is_up)

    def _able(self, remotes: Sequence[str]) -> Sequence[Member]:
        """Return who may move objects of these remotes: those who name the first that is named, else those who name none."""
        named = (found for remote in remotes if (found := [one for one in self._members if one.names(remote)]))
        return next(named, [one for one in self._members if not one.patterns])

    async def _turn(self, *remotes: str) -> Member:
        """Return whose turn it is.

        A remote that somebody names waits for those who name it; of what nobody names, another one of the rest takes over.
        """
        able = self._able(remotes)
        limit = time.monotonic() + READY_WAIT_S
        while True:
            there = [one for one in able if one.storage.is_up]
            if there or time.monotonic() > limit:
                return min(there or able, key=lambda one: one.uses)
            await asyncio.sleep(LOOK_EVERY_S)

    @asynccontextmanager
    async def _using(self, *remotes: str) -> AsyncGenerator[RcloneStorage]:
        member = await self._turn(*remotes)
        member.uses += 1
        try:
            yield member.storage
        finally:
            member.uses -= 1

    async def _any(self, remotes: Sequence[str], ask: Callable[[RcloneStorage], Awaitable[_T]]) -> _T:
        """Ask who is to be asked of remotes, and where that one is lost meanwhile another one that may answer."""
        member = await self._turn(*remotes)
        try:
            return await ask(member.storage)
        except Unreachable:
            other = next((one for one in self._able(remotes) if one is not member and one.storage.is_up), None)
            if other is None or member.storage.is_up:
                raise
            return await ask(other.storage)

    # -- whole trees ---------------------------------------------------------------------------------------------------------

    async def check(self, rules: Sequence[str]) -> None:
        """See `Bulk.check`."""
        await self._any((), lambda storage: storage.bulk.check(rules))

    async def tree(self, prefix: ObjectRef, rules: Sequence[str] = (), *, hashes: bool = False) -> Sequence[ObjectInfo]:
        """See `Bulk.tree`."""
        return await self._any((prefix.remote,), lambda storage: storage.tree(prefix, rules, hashes=hashes))

    async def perform(self, order: BulkOrder, report: Report) -> None:
        """See `Bulk.perform`."""
        others = [] if order.destination is None else [order.destination.remote]
        async with self._using(order.source.remote, *others) as storage:
            await storage.bulk.perform(order, report)

    # -- the port ------------------------------------------------------------------------------------------------------------

    async def stat(self, ref: ObjectRef) -> ObjectInfo:
        """See `Storage.stat`."""
        return await self._any((ref.remote,), lambda storage: storage.stat(ref))

    async def stat_many(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, ObjectInfo | Exception]:
        """See `Storage.stat_many`."""
        whose: dict[Member, list[ObjectRef]] = {}
        chosen: Mapping[str, Member] = {remote: await self._turn(remote) for remote in {ref.remote for ref in refs}}
        for ref in refs:
            whose.setdefault(chosen[ref.remote], []).append(ref)
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(member.storage.stat_many(part)) for member, part in whose.items()]
        return {ref: info for one in asked for ref, info in one.result().items()}

    async def list(self, ref: ObjectRef, *, recursive: bool = False) -> AsyncIterator[ObjectInfo]:
        """See `Storage.list`."""
        member = await self._turn(ref.remote)
        async for info in member.storage.list(ref, recursive=recursive):
            yield info

    async def test(self, remote: str) -> None:
        """See `Storage.test`."""
        await self._any((remote,), lambda storage: storage.test(remote))

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
        async with self._using(info.ref.remote) as storage:
            return await storage.fetch(info, target, progress, parts=parts, kept=kept, scratch=scratch)

    async def read(self, ref: ObjectRef, *, offset: int = 0, count: int | None = None) -> AsyncGenerator[bytes]:
        """See `Storage.read`."""
        async with self._using(ref.remote) as storage, aclosing(storage.read(ref, offset=offset, count=count)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def store(self, source: Path, ref: ObjectRef, progress: Progress) -> ObjectInfo:
        """See `Storage.store`."""
        async with self._using(ref.remote) as storage:
            return await storage.store(source, ref, progress)

    async def copy(self, info: ObjectInfo, target: ObjectRef, progress: Progress, *, parts: int = 1) -> Copied:
        """See `Copying.copy`."""
        async with self._using(info.ref.remote, target.remote) as storage:
            return await storage.copy(info, target, progress, parts=parts)

    async def make_folder(self, ref: ObjectRef) -> bool:
        """See `Files.make_folder`."""
        return await self._any((ref.remote,), lambda storage: storage.make_folder(ref))

    async def remove_folder(self, ref: ObjectRef) -> None:
        """See `Files.remove_folder`."""
        await self._any((ref.remote,), lambda storage: storage.remove_folder(ref))

    async def link(self, ref: ObjectRef, expires_s: float | None) -> str:
        """See `Files.link`."""
        return await self._any((ref.remote,), lambda storage: storage.link(ref, expires_s))

    async def verify(self, source: Path, ref: ObjectRef) -> ObjectInfo | None:
        """See `Storage.verify`."""
        return await self._any((ref.remote,), lambda storage: storage.verify(source, ref))

    async def delete(self, ref: ObjectRef) -> None:
        """See `Storage.delete`."""
        await self._any((ref.remote,), lambda storage: storage.delete(ref))
