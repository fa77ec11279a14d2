"""Workflows that belong to another object (`metadata.ownerReferences`): as in Kubernetes, they are deleted with it."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from msgspec import Struct

from jitflow.model import argo
from jitflow.model.objects import KINDS, Objects
from jitflow.ports.store import StateStore

OWNED = "owned"
"""Kind of the store's documents that say to whom a run belongs."""

WORKFLOW = "Workflow"


class Owner(Struct, frozen=True, kw_only=True):
    """An object that others belong to."""

    kind: str
    name: str
    uid: str


class _Belongs(Struct, frozen=True, kw_only=True):
    namespace: str
    owners: tuple[Owner, ...]


class Owned:
    """Knows which runs belong to whom. Owners of kinds that are not kept here, or that are not there, do not count."""

    def __init__(self, store: StateStore, objects: Objects, delete: Callable[[str], Awaitable[None]]) -> None:
        """Delete runs with `delete(uid)`, which must not mind one that is gone."""
        self._store = store
        self._objects = objects
        self._delete = delete
        self._known: dict[str, _Belongs] = {}

    async def open(self) -> None:
        """Read what belongs to whom."""
        for uid, body in await self._store.items(OWNED):
            self._known[uid] = msgspec.json.decode(body, type=_Belongs)

    async def remember(self, uid: str, namespace: str, references: Sequence[argo.OwnerReference]) -> None:
        """Take note of a new run's owners; before the run is stored, so that they are not forgotten."""
        given = (Owner(kind=it.kind, name=it.name, uid=it.uid) for it in references)
        owners = tuple([owner for owner in given if await self._exists(owner, namespace)])
        if owners:
            self._known[uid] = _Belongs(namespace=namespace, owners=owners)
            await self._store.put(OWNED, [(uid, msgspec.json.encode(self._known[uid]))])

    async def forget(self, uid: str) -> None:
        """A run is gone."""
        if self._known.pop(uid, None) is not None:
            await self._store.put(OWNED, [(uid, None)])

    async def collect(self, owner_uid: str = "") -> None:
        """Delete the runs of an owner that is gone; without one, of all owners that went while nobody looked.

        A run with several owners stays while one of them is there.
        """
        for uid, belongs in list(self._known.items()):
            if owner_uid and all(owner.uid != owner_uid for owner in belongs.owners):
                continue
            if not any([await self._exists(owner, belongs.namespace) for owner in belongs.owners]):
                await self._delete(uid)
                await self.forget(uid)

    async def _exists(self, owner: Owner, namespace: str) -> bool:
        if owner.kind == WORKFLOW:
            stored = await self._store.load(owner.uid)
            row = stored.row if stored is not None else None
            return row is not None and row.live and (row.namespace, row.name) == (namespace, owner.name)
        kind = KINDS.get(owner.kind)
        found = self._objects.find(kind, namespace, owner.name) if kind is not None else None
        return found is not None and found.metadata is not None and found.metadata.uid == owner.uid
