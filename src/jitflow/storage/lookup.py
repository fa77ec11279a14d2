"""What stores say of objects: stats and listings."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.ports.errors import Broken, FixRequest, ObjectMissing, PortError, RemoteUnknown
from jitflow.storage import keys, wire
from jitflow.storage.calls import Calls
from jitflow.storage.faults import Unforeseen
from jitflow.storage.remotes import RemoteConfig

LISTED_TOGETHER = 4
"""So many objects of one directory are looked up by one listing rather than one by one."""


class Lookup:
    """Looks objects up, behind the remotes in `remotes` (shared with the owner, who changes it)."""

    def __init__(self, queries: Calls, remotes: dict[str, RemoteConfig]) -> None:
        """Use `queries` for every call."""
        self._queries = queries
        self._remotes = remotes
        self._traits: dict[str, wire.FsInfo] = {}

    async def stat(self, ref: ObjectRef) -> ObjectInfo:
        """See `Storage.stat`."""
        if ref.is_prefix:
            return (await self.tree(ref))[0]
        remote, at = self.known(ref), keys.address(ref)
        traits = await self.traits(remote)
        request = wire.stat_request(at, config_of(remote), hashes=_gives_hashes(remote, traits))
        text = await self._queries.run("operations/stat", request, subject=str(ref), total_bytes=0)
        answer = _parse(text, wire.StatAnswer, ref)
        if answer.item is None or answer.item.is_dir:
            raise ObjectMissing(f"{ref}: there is no such object; a directory is written with a final `/`")
        info = wire.object_info(ref, answer.item, exact_times=traits.features.is_local)
        return replace(info, ref=ref)

    async def stat_many(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, ObjectInfo | Exception]:
        """See `Storage.stat_many`."""
        directories: defaultdict[ObjectRef, list[ObjectRef]] = defaultdict(list)
        found: dict[ObjectRef, ObjectInfo | Exception] = {}
        for ref in dict.fromkeys(refs):
            directories[_directory(ref)].append(ref)
        async with asyncio.TaskGroup() as group:
            for directory, members in directories.items():
                objects = [ref for ref in members if not ref.is_prefix]
                together = len(objects) >= LISTED_TOGETHER
                if together:
                    group.create_task(self._stat_listed(directory, objects, found))
                for ref in members:
                    if ref.is_prefix or not together:
                        group.create_task(self._stat_into(ref, found))
        return {ref: found[ref] for ref in refs}

    async def _stat_into(self, ref: ObjectRef, found: dict[ObjectRef, ObjectInfo | Exception]) -> None:
        try:
            found[ref] = await self.stat(ref)
        except PortError as error:
            found[ref] = error

    async def _stat_listed(
        self, directory: ObjectRef, refs: Sequence[ObjectRef], found: dict[ObjectRef, ObjectInfo | Exception]
    ) -> None:
        try:
            listed = {info.ref: info for info in await self.entries(directory, recursive=False)}
        except ObjectMissing:
            listed = {}
        except PortError as error:
            found.update({ref: type(error)(f"{ref}: {error}") for ref in refs})
            return
        for ref in refs:
            found[ref] = listed.get(ref) or ObjectMissing(f"{ref}: there is no such object")

    async def entries(self, prefix: ObjectRef, *, recursive: bool, files_only: bool = False) -> list[ObjectInfo]:
        """Return what lies below a prefix."""
        remote, at = self.known(prefix), keys.address(prefix)
        traits = await self.traits(remote)
        hashes = _gives_hashes(remote, traits)
        request = wire.list_request(at, config_of(remote), recursive=recursive, hashes=hashes, files_only=files_only)
        answer = _parse(await self._queries.run("operations/list", request, subject=str(prefix)), wire.ListAnswer, prefix)
        return [wire.object_info(prefix, item, exact_times=traits.features.is_local) for item in answer.entries or ()]

    async def chosen(self, prefix: ObjectRef, rules: Sequence[str], *, slow_hashes: bool) -> list[ObjectInfo]:
        """Return the objects below a prefix that filter rules let through, none if nothing is there; see `Bulk.tree`."""
        remote, at = self.known(prefix), keys.address(prefix)
        traits = await self.traits(remote)
        hashes = _gives_hashes(remote, traits) or (slow_hashes and remote.check_hashes)
        request = wire.list_request(at, config_of(remote), recursive=True, hashes=hashes, files_only=True, rules=rules)
        root = prefix if not rules else ObjectRef(remote=prefix.remote, path="")
        try:
            answer = _parse(await self._queries.run("operations/list", request, subject=str(prefix)), wire.ListAnswer, prefix)
        except ObjectMissing:
            return []
        found = (wire.object_info(root, item, exact_times=traits.features.is_local) for item in answer.entries or ())
        if not rules:
            return list(found)
        return [replace(info, ref=ObjectRef(remote=prefix.remote, path=prefix.path + info.ref.path)) for info in found]

    async def tree(self, prefix: ObjectRef) -> tuple[ObjectInfo, list[ObjectInfo]]:
        """Return the sum and the members of a prefix."""
        members = await self.entries(prefix, recursive=True, files_only=True)
        if not members:
            raise ObjectMissing(f"{prefix}: there is nothing below this prefix")
        return wire.prefix_info(prefix, members), members

    def known(self, ref: ObjectRef) -> RemoteConfig:
        """Return the remote of an object, or raise `RemoteUnknown`."""
        remote = self._remotes.get(ref.remote)
        if remote is None:
            names = ", ".join(sorted(self._remotes)) or "none"
            raise RemoteUnknown(
                f"{ref}: no remote named {ref.remote!r} is configured (configured: {names}); add it (jitflow remote add)"
            )
        return remote

    def forget(self, name: str) -> None:
        """Ask the store anew what it can do."""
        self._traits.pop(name, None)

    async def traits(self, remote: RemoteConfig) -> wire.FsInfo:
        """Return what a store can do.

        Raises:
            PortError: as rclone says; `FixRequest` where rclone cannot even begin with the remote's options.
        """
        if remote.name not in self._traits:
            request = {"fs": f"{remote.name}:", "_config": config_of(remote)}
            subject = f"remote {remote.name}"
            try:
                answer = await self._queries.run("operations/fsinfo", request, subject=subject, total_bytes=0)
            except Unforeseen as error:
                raise FixRequest(f"{subject} cannot be used with the options that it has: {error.said}") from error
            self._traits[remote.name] = wire.parse(answer, wire.FsInfo)
        return self._traits[remote.name]


def config_of(remote: RemoteConfig) -> wire.Request:
    """Return the `_config` of every call to a remote: rclone keeps what the first one made, so they must agree."""
    return wire.settings(remote.tuning, check_hashes=remote.check_hashes)


def _gives_hashes(remote: RemoteConfig, traits: wire.FsInfo) -> bool:
    """Return whether the store knows hashes without reading the objects."""
    return remote.check_hashes and bool(traits.hashes) and not traits.features.slow_hash


def _directory(ref: ObjectRef) -> ObjectRef:
    head, slash, _ = ref.path.removesuffix("/").rpartition("/")
    return ObjectRef(remote=ref.remote, path=head + slash)


def _parse(answer: bytes, kind: type[wire.T], ref: ObjectRef) -> wire.T:
    try:
        return wire.parse(answer, kind)
    except msgspec.MsgspecError as error:
        raise Broken(f"{ref}: rclone answered something else than expected: {error}") from error
