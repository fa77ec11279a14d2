"""The Storage port over rclone."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path

from jitflow.model.bandwidth import FREE, Rate
from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.ports.errors import Broken, FixRequest, ObjectMissing
from jitflow.ports.storage import Copied, Progress
from jitflow.storage import keys, wire
from jitflow.storage.between import Between
from jitflow.storage.bulk import BulkCalls
from jitflow.storage.calls import Calls
from jitflow.storage.copies import Copies
from jitflow.storage.lookup import Lookup, config_of
from jitflow.storage.ranges import Ranges
from jitflow.storage.rc import RcClient
from jitflow.storage.rclone import Rclone
from jitflow.storage.remotes import Provider, Providers, RemoteConfig, pushed, secret_values, validate
from jitflow.storage.watch import Watch


class RcloneStorage:
    """Objects behind rclone's remotes; implements `jitflow.ports.storage.Storage`.

    The daemon is opened and closed with the storage.
    """

    def __init__(
        self,
        daemon: Rclone,
        remotes: Iterable[RemoteConfig] = (),
        *,
        stall_s: float = 60.0,
        max_transfers: int = 64,
        max_queries: int = 64,
        max_streams: int = 32,
        at_once: int = 64,
    ) -> None:
        """Remember the remotes; `open` checks them.

        Args:
            daemon: the rclone to use, not opened yet.
            remotes: what is configured from the start; `configure` adds more.
            stall_s: a call in which nothing moves for so long is given up with `Stalled`.
            max_transfers: copies at once; more wait for their turn.
            max_queries: stats and listings at once.
            max_streams: objects read at once.
            at_once: objects fetched at once from each remote, in one piece each; who asks for more waits.
        """
        self._daemon = daemon
        self._rate = self._told = FREE
        self._remotes = {remote.name: remote for remote in remotes}
        self._providers: list[Provider] = []
        self._watch = Watch(self._ask, daemon.kill)
        self._transfers = Calls(daemon, self._watch, "transfer", max_transfers, stall_s)
        self._queries = Calls(daemon, self._watch, "query", max_queries, stall_s)
        self._stall_s = stall_s
        self._streams = asyncio.Semaphore(max_streams)
        self._lookup = Lookup(self._queries, self._remotes)
        self._copies = Copies(self._transfers, self._lookup, Ranges(daemon, stall_s, max_transfers), at_once)
        self._between = Between(self._transfers, self._lookup)
        self._bulks = Calls(daemon, self._watch, "bulk", max_transfers, stall_s)
        self.bulk = BulkCalls(daemon, self._bulks, self._lookup)
        """Copies and deletions of many files at once."""

    # -- life ------------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start rclone and give it the remotes.

        Raises:
            Refused: a remote makes no sense to rclone. Broken: rclone does not start.
        """
        await self._daemon.open(self._prepare)

    async def close(self) -> None:
        """Cancel what is under way and stop rclone."""
        await self._watch.close()
        await self._copies.close()
        await self._transfers.close()
        await self._bulks.close()
        await self._queries.close()
        await self._daemon.part(self.remotes)
        await self._daemon.close()

    @property
    def is_up(self) -> bool:
        """Whether rclone is there."""
        return self._daemon.is_up

    async def ready(self) -> None:
        """Return when rclone answers.

        Raises:
            PortError: it does not.
        """
        await self._daemon.call("rc/noop", {}, subject="rclone")

    async def _ask(self, method: str, params: wire.Request) -> bytes:
        return await self._daemon.call(method, params, subject="rclone")

    async def configure(self, remote: RemoteConfig) -> None:
        """Add a remote, or replace the one of that name.

        Raises:
            Refused: it makes no sense to rclone; nothing was changed.
        """
        validate(remote, self._providers)
        self._daemon.redact.add(secret_values(remote, self._providers))
        type_, options = pushed(remote)
        subject = f"remote {remote.name}"
        answer = await self._daemon.call("config/create", wire.create_request(remote.name, type_, options), subject=subject)
        self._check_created(remote, answer)
        await self._daemon.call("fscache/clear", {}, subject=subject)
        self._remotes[remote.name] = remote
        self._lookup.forget(remote.name)

    def remember(self, remote: RemoteConfig) -> None:
        """Know a remote that another rclone has taken; this one, which is away, is given it when it is back."""
        self._remotes[remote.name] = remote
        self._lookup.forget(remote.name)

    def forget(self, name: str) -> None:
        """Know a remote no more; an rclone that is away comes back without it."""
        if self._remotes.pop(name, None):
            self._lookup.forget(name)

    def wait_at_most(self, ready_wait_s: float) -> None:
        """Let calls wait no longer for an rclone that is away."""
        self._daemon.ready_wait_s = ready_wait_s

    def remember_limit(self, rate: Rate) -> None:
        """Hold a limit from when rclone, which is away, is back."""
        self._rate = rate

    @property
    def trouble(self) -> str:
        """Say why rclone was not there when that was last looked at."""
        return self._daemon.trouble

    async def limit(self, rate: Rate) -> None:
        """Let no more bytes a second than this pass through this rclone, whatever they belong to.

        Raises:
            PortError: rclone does not say that it has understood.
        """
        self._rate = rate
        if rate != self._told:
            await self._daemon.call("core/bwlimit", wire.limit_request(rate), subject="the limit of bandwidth")
            self._told = rate

    async def unconfigure(self, name: str) -> None:
        """Forget a remote; nothing of that name is no error."""
        if self._remotes.pop(name, None):
            self._lookup.forget(name)
            await self._daemon.call("config/delete", {"name": name}, subject=f"remote {name}")
            await self._daemon.call("fscache/clear", {}, subject=f"remote {name}")

    @property
    def providers(self) -> Sequence[Provider]:
        """Return what this rclone knows of the types of stores; empty before `open`."""
        return self._providers

    async def describe_providers(self) -> bytes:
        """Return rclone's own description of the types of stores and their options, as JSON."""
        return await self._daemon.call("config/providers", {}, subject="rclone")

    def config(self, name: str) -> RemoteConfig | None:
        """Return how a remote is configured, None if it is not."""
        return self._remotes.get(name)

    @property
    def configs(self) -> tuple[RemoteConfig, ...]:
        """Return how all remotes are configured."""
        return tuple(self._remotes.values())

    @property
    def remotes(self) -> tuple[str, ...]:
        """Return the names of the configured remotes."""
        return tuple(sorted(self._remotes))

    async def _prepare(self, client: RcClient) -> None:
        """Give a daemon that has just started its configuration."""
        if not self._providers:
            self._providers = wire.parse(await client.call("config/providers", {}, subject="rclone"), Providers).providers
        for remote in self._remotes.values():
            validate(remote, self._providers)
            self._daemon.redact.add(secret_values(remote, self._providers))
            type_, options = pushed(remote)
            request = wire.create_request(remote.name, type_, options)
            self._check_created(remote, await client.call("config/create", request, subject=f"remote {remote.name}"))
        self._told = self._rate
        if self._told != FREE:
            await client.call("core/bwlimit", wire.limit_request(self._told), subject="the limit of bandwidth")

    def _check_created(self, remote: RemoteConfig, answer: bytes) -> None:
        error = wire.parse(answer, wire.Question).error
        if error:
            raise FixRequest(f"remote {remote.name}: rclone does not take it: {self._daemon.redact(error)}")

    # -- the port --------------------------------------------------------------------------------------------------------

    async def stat(self, ref: ObjectRef) -> ObjectInfo:
        """See `Storage.stat`."""
        return await self._lookup.stat(ref)

    async def stat_many(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, ObjectInfo | Exception]:
        """See `Storage.stat_many`."""
        return await self._lookup.stat_many(refs)

    async def list(self, ref: ObjectRef, *, recursive: bool = False) -> AsyncIterator[ObjectInfo]:
        """See `Storage.list`."""
        prefix = ref if ref.is_prefix else ObjectRef(remote=ref.remote, path=f"{ref.path}/")
        for info in await self._lookup.entries(prefix, recursive=recursive):
            yield info

    async def tree(self, prefix: ObjectRef, rules: Sequence[str] = (), *, hashes: bool = False) -> Sequence[ObjectInfo]:
        """See `Bulk.tree`."""
        return await self._lookup.chosen(prefix, rules, slow_hashes=hashes)

    async def test(self, remote: str) -> None:
        """See `Storage.test`."""
        await self._lookup.entries(ObjectRef(remote=remote, path=""), recursive=False)

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
        return await self._copies.fetch(info, target, progress, parts=parts, kept=kept, scratch=scratch)

    async def read(self, ref: ObjectRef, *, offset: int = 0, count: int | None = None) -> AsyncGenerator[bytes]:
        """See `Storage.read`."""
        info = await self._lookup.stat(ref)  # it also makes rclone's view of the remote, with our options
        if offset >= info.size_bytes or count == 0:
            return
        at = keys.address(ref)
        last = "" if count is None else str(offset + count - 1)
        span = f"bytes={offset}-{last}" if offset or last else ""
        async with (
            self._streams,
            aclosing(self._daemon.read(at.fs, at.remote, span=span, stall_s=self._stall_s, subject=str(ref))) as chunks,
        ):
            async for chunk in chunks:
                yield chunk

    async def store(self, source: Path, ref: ObjectRef, progress: Progress) -> ObjectInfo:
        """See `Storage.store`."""
        return await self._copies.store(source, ref, progress)

    async def copy(self, info: ObjectInfo, target: ObjectRef, progress: Progress, *, parts: int = 1) -> Copied:
        """See `Copying.copy`."""
        return await self._between.copy(info, target, progress, parts=parts)

    async def make_folder(self, ref: ObjectRef) -> bool:
        """See `Files.make_folder`."""
        remote, at = self._lookup.known(ref), keys.address(ref)
        traits = await self._lookup.traits(remote)
        request = {**at._asdict(), "_config": config_of(remote)}
        await self._queries.run("operations/mkdir", request, subject=str(ref), total_bytes=0)
        return traits.features.can_have_empty_directories

    async def remove_folder(self, ref: ObjectRef) -> None:
        """See `Files.remove_folder`."""
        remote, at = self._lookup.known(ref), keys.address(ref)
        await self._lookup.traits(remote)
        request = {**at._asdict(), "leaveRoot": False, "_config": config_of(remote)}
        with suppress(ObjectMissing):
            await self._queries.run("operations/rmdirs", request, subject=str(ref), total_bytes=0)

    async def link(self, ref: ObjectRef, expires_s: float | None) -> str:
        """See `Files.link`."""
        remote, at = self._lookup.known(ref), keys.address(ref)
        await self._lookup.traits(remote)
        request = {**at._asdict(), "_config": config_of(remote), **({"expire": f"{expires_s}s"} if expires_s else {})}
        try:
            text = await self._queries.run("operations/publiclink", request, subject=str(ref), total_bytes=0)
        except Broken as error:
            if "doesn't support public links" in str(error):
                raise FixRequest(f"{ref}: stores of type {remote.type!r} make no links by which anybody can read") from error
            raise
        return wire.parse(text, wire.PublicLink).url

    async def verify(self, source: Path, ref: ObjectRef) -> ObjectInfo | None:
        """See `Storage.verify`."""
        return await self._copies.verify(source, ref)

    async def delete(self, ref: ObjectRef) -> None:
        """See `Storage.delete`."""
        remote, at = self._lookup.known(ref), keys.address(ref)
        if not at.remote:
            raise FixRequest(f"{ref}: name an object or a prefix, not the whole remote")
        config = config_of(remote)
        with suppress(ObjectMissing):
            if not ref.is_prefix:
                await self._queries.run(
                    "operations/deletefile", {**at._asdict(), "_config": config}, subject=str(ref), total_bytes=0
                )
                return
            await self._queries.run("operations/delete", {"fs": at.whole, "_config": config}, subject=str(ref))
            if (await self._lookup.traits(remote)).features.can_have_empty_directories:
                await self._queries.run("operations/purge", {**at._asdict(), "_config": config}, subject=str(ref))
