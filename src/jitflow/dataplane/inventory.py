"""Listings that are kept for a while: to plan with many objects costs one listing, and to plan again costs none.

Where the age is 0, nothing is kept unasked: each workflow reads objects as they are when it is submitted. What a kept listing
does not name is asked for at the store. Which version was read is compared when an object is fetched, whatever a listing said.
"""

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import Struct

from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.model.inventory import InventoryChanges, InventoryPage, InventoryView
from jitflow.model.origins import is_made
from jitflow.model.problems import Refused
from jitflow.ports.clock import Clock
from jitflow.ports.errors import FixRequest, ObjectMissing, PortError
from jitflow.ports.storage import Storage

LISTED_TOGETHER = 4
"""So many objects of one directory are looked up by a listing that is kept."""
MOST_NAMED = 1000
"""So many names of what has changed are told."""
Answers = dict[ObjectRef, ObjectInfo | Exception]


class _Row(Struct, array_like=True, frozen=True, gc=False):
    size_bytes: int
    version: str = ""
    modified: str = ""
    hashes: dict[str, str] = {}


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_Row).decode


class _Kept:
    """One listing: packed rows by name below its prefix."""

    def __init__(self, prefix: ObjectRef, *, recursive: bool, listed_at: float, infos: Sequence[ObjectInfo]) -> None:
        self.prefix = prefix
        self.recursive = recursive
        self.listed_at = listed_at
        self.size_bytes = sum(info.size_bytes for info in infos)
        self.rows = {info.ref.path.removeprefix(prefix.path): _packed(info) for info in infos}
        self.names: list[str] | None = None
        self.changes: InventoryChanges | None = None
        self.stale: set[ObjectRef] = set()
        """Objects of whose replicas it told that they are of no use any more."""

    def get(self, ref: ObjectRef) -> ObjectInfo | None:
        body = self.rows.get(ref.path.removeprefix(self.prefix.path))
        return _info(ref, body) if body is not None else None

    def sorted(self) -> list[str]:
        if self.names is None:
            self.names = sorted(self.rows)
        return self.names


class Inventory:
    """Implements `Inventories`, and answers look-ups from what is kept."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        *,
        age_s: float = 0.0,
        ages: Mapping[str, float] | None = None,
        most: int = 1_000_000,
    ) -> None:
        """Use listings again for `age_s` (of some remotes: `ages`); keep at most `most` objects of all listings together."""
        self._storage = storage
        self._clock = clock
        self._age_s = age_s
        self._ages = dict(ages or {})
        self._most = most
        self._kept: dict[ObjectRef, _Kept] = {}
        """By prefix, those that were listed last at the end."""
        self._coming: dict[ObjectRef, asyncio.Task[_Kept]] = {}
        self.stale: Callable[[ObjectRef, ObjectInfo | None], bool] = lambda _ref, _now: False
        """Told of each object that has changed or is gone (None); returns whether a replica of it was of another version."""
        self.near: Callable[[ObjectRef], Sequence[ObjectRef]] = lambda _: ()
        """Returns what is in the primary of a prefix."""

    def age_s(self, remote: str) -> float:
        """Return how old a listing of a remote may be that is used again."""
        return 0.0 if is_made(remote) else self._ages.get(remote, self._age_s)

    # -- look-ups ----------------------------------------------------------------------------------------------------------

    async def stat_many(self, refs: Sequence[ObjectRef], *, fresh: bool = False) -> Answers:
        """Do as `Storage.stat_many`; unless `fresh`, by listings that are young enough, which are taken where need be."""
        answers: Answers = {}
        rest: list[ObjectRef] = []
        groups: defaultdict[ObjectRef, list[ObjectRef]] = defaultdict(list)
        for ref in refs:
            if fresh or ref.is_prefix or self.age_s(ref.remote) <= 0:
                rest.append(ref)
            else:
                groups[_directory(ref)].append(ref)
        for directory, members in groups.items():
            rest += await self._answer(directory, members, answers)
        if rest:
            answers.update(await self._storage.stat_many(rest))
        return answers

    async def _answer(self, directory: ObjectRef, members: Sequence[ObjectRef], answers: Answers) -> list[ObjectRef]:
        """Answer for objects of one directory, and return those for which the store has to be asked."""
        kept = self._young(directory)
        if kept is None and len(members) < LISTED_TOGETHER:
            return list(members)
        try:
            listing = kept or await self._list(directory, recursive=False)
        except FixRequest:
            return list(members)  # a store without listings
        except PortError as error:
            answers.update((ref, type(error)(f"{ref}: {error}")) for ref in members)
            return []
        found = {ref: listing.get(ref) for ref in members}
        answers.update((ref, info) for ref, info in found.items() if info is not None)
        absent = [ref for ref, info in found.items() if info is None]
        if kept is not None:
            return absent  # they may have come since
        answers.update((ref, ObjectMissing(f"{ref}: there is no such object")) for ref in absent)
        return []

    def _young(self, directory: ObjectRef) -> _Kept | None:
        """Return a listing that is young enough and names what lies in a directory."""
        oldest = self._clock.now() - self.age_s(directory.remote)
        own = self._kept.get(directory)
        if own is not None and own.listed_at >= oldest:
            return own
        path = directory.path
        while path:
            path = path.rstrip("/").rpartition("/")[0]
            path = f"{path}/" if path else ""
            above = self._kept.get(ObjectRef(remote=directory.remote, path=path))
            if above is not None and above.recursive and above.listed_at >= oldest:
                return above
        return None

    async def _list(self, prefix: ObjectRef, *, recursive: bool) -> _Kept:
        """List, or wait for who lists the same already."""
        coming = self._coming.get(prefix) if not recursive else None
        if coming is None:
            coming = asyncio.get_running_loop().create_task(self._listed(prefix, recursive=recursive), name=f"list {prefix}")
            self._coming[prefix] = coming
            coming.add_done_callback(lambda done: self._done(prefix, done))
        return await asyncio.shield(coming)

    def _done(self, prefix: ObjectRef, task: asyncio.Task[_Kept]) -> None:
        if self._coming.get(prefix) is task:
            del self._coming[prefix]
        if not task.cancelled():
            task.exception()  # whoever waits is told

    async def _listed(self, prefix: ObjectRef, *, recursive: bool) -> _Kept:
        began = self._clock.now()
        try:
            infos = [info async for info in self._storage.list(prefix, recursive=recursive) if not info.ref.is_prefix]
        except ObjectMissing:
            infos = []
        found = _Kept(prefix, recursive=recursive, listed_at=began, infos=infos)
        before = self._kept.pop(prefix, None)
        if before is not None and before.recursive == recursive:
            found.changes = self._compared(before, found)
        self._keep(found)
        return found

    def _keep(self, found: _Kept) -> None:
        if len(found.rows) > self._most:
            return
        self._kept[found.prefix] = found
        count = sum(len(one.rows) for one in self._kept.values())
        while count > self._most:
            oldest = next(iter(self._kept))
            count -= len(self._kept.pop(oldest).rows)

    # -- changes -----------------------------------------------------------------------------------------------------------

    def _compared(self, before: _Kept, now: _Kept) -> InventoryChanges:
        """Say what is another thing now, and mark the replicas of that."""
        added = [name for name in now.rows if name not in before.rows]
        removed = [name for name in before.rows if name not in now.rows]
        changed = [name for name, body in now.rows.items() if name in before.rows and before.rows[name] != body]
        self._mark(now, [ObjectRef(remote=now.prefix.remote, path=now.prefix.path + name) for name in (*changed, *removed)])
        return InventoryChanges(
            since=before.listed_at,
            added=len(added),
            changed=len(changed),
            removed=len(removed),
            added_names=tuple(sorted(added)[:MOST_NAMED]),
            changed_names=tuple(sorted(changed)[:MOST_NAMED]),
            removed_names=tuple(sorted(removed)[:MOST_NAMED]),
        )

    def _mark(self, now: _Kept, refs: Sequence[ObjectRef]) -> None:
        now.stale.update(ref for ref in refs if not ref.is_prefix and self.stale(ref, now.get(ref)))

    # -- what people see and do --------------------------------------------------------------------------------------------

    def kept(self) -> Sequence[InventoryView]:
        """See `Inventories.kept`."""
        return [self._view(one) for _, one in sorted(self._kept.items(), key=lambda item: str(item[0]))]

    def page(self, prefix: ObjectRef, *, after: str = "", limit: int = 1000) -> InventoryPage:
        """See `Inventories.page`."""
        kept = self._kept.get(prefix)
        if kept is None:
            raise Refused(
                f"no listing of {prefix} is kept; take one with `jitflow data inventory {prefix} --refresh`", code="not_found"
            )
        names = kept.sorted()
        start = bisect_right(names, after) if after else 0
        chosen = names[start : start + limit]
        refs = ((name, ObjectRef(remote=prefix.remote, path=prefix.path + name)) for name in chosen)
        items = tuple(_info(ref, kept.rows[name]) for name, ref in refs)
        more = start + limit < len(names)
        return InventoryPage(inventory=self._view(kept), items=items, next=chosen[-1] if more else "")

    async def refresh(self, prefix: ObjectRef) -> InventoryView:
        """See `Inventories.refresh`."""
        found = await self._list(prefix, recursive=True)
        self._mark(found, self.near(prefix))  # also what came before there was a listing
        return self._view(found)

    def _view(self, kept: _Kept) -> InventoryView:
        return InventoryView(
            prefix=kept.prefix,
            recursive=kept.recursive,
            listed_at=kept.listed_at,
            age_s=max(0.0, self._clock.now() - kept.listed_at),
            objects=len(kept.rows),
            size_bytes=kept.size_bytes,
            stale=len(kept.stale),
            changes=kept.changes,
        )


def _packed(info: ObjectInfo) -> bytes:
    return _pack(_Row(info.size_bytes, info.version, info.modified, info.hashes))


def _info(ref: ObjectRef, body: bytes) -> ObjectInfo:
    row = _unpack(body)
    return ObjectInfo(ref=ref, size_bytes=row.size_bytes, version=row.version, modified=row.modified, hashes=row.hashes)


def _directory(ref: ObjectRef) -> ObjectRef:
    head, slash, _ = ref.path.rpartition("/")
    return ObjectRef(remote=ref.remote, path=head + slash)
