"""Deletes artifacts that finished workflows give up, and goes on with that after a restart."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import groupby

from jitflow.engine.locations import Locator
from jitflow.engine.tasks import Owner
from jitflow.model.data import ObjectRef
from jitflow.model.problems import Refused
from jitflow.model.runs import ArtifactFate, ArtifactsDeleted, DeleteArtifacts, Garbage
from jitflow.ports.dataplane import DataPlane
from jitflow.ports.errors import FixRequest, PortError
from jitflow.ports.store import StateStore

PENDING = "artifact-gc"
"""Kind of the store's documents that name finished runs whose artifacts are being deleted."""

AT_ONCE = 8

Tell = Callable[[str, ArtifactsDeleted], Awaitable[None]]
"""Lets a run know what became of its artifacts; it is durable when this returns."""


class GarbageCollector:
    """Performs `DeleteArtifacts`. Which runs have one open is kept in the store: finished runs are not loaded at the start."""

    def __init__(self, store: StateStore, dataplane: DataPlane, owner: Owner, locator: Callable[[], Locator], tell: Tell) -> None:
        """Tell runs with `tell(uid, event)`."""
        self._store = store
        self._dataplane = dataplane
        self._owner = owner
        self._locator = locator
        self._tell = tell
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._busy: dict[str, int] = {}

    async def pending(self) -> list[str]:
        """Return the runs whose artifacts were being deleted when the server stopped."""
        return [uid for uid, _ in await self._store.items(PENDING)]

    async def remember(self, uid: str) -> None:
        """A run is about to have artifacts deleted: note it before that is stored, so that it is not forgotten."""
        await self._store.put(PENDING, [(uid, b"1")])

    async def forget(self, uid: str) -> None:
        """Nothing of the run is being deleted any more."""
        await self._store.put(PENDING, [(uid, None)])

    def is_busy(self, uid: str) -> bool:
        """Return whether artifacts of a run are being deleted now."""
        return uid in self._busy

    def start(self, uid: str, effect: DeleteArtifacts) -> None:
        """Begin to delete."""
        self._busy[uid] = self._busy.get(uid, 0) + 1
        self._owner.spawn(self._run(uid, effect), f"delete artifacts of {uid}")

    async def _run(self, uid: str, effect: DeleteArtifacts) -> None:
        try:
            locator = self._locator().within(effect.namespace, effect.repository)
            placed = [(self._place(one, locator), one) for one in effect.garbage]
            placed.sort(key=lambda pair: str(pair[0]))
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._delete(place, [one for _, one in some]))
                    for place, some in ((place, list(some)) for place, some in groupby(placed, key=lambda pair: pair[0]))
                ]
            results = tuple(fate for task in tasks for fate in task.result())
            await self._tell(uid, ArtifactsDeleted(strategy=effect.strategy, results=results))
        finally:
            self._busy[uid] -= 1
            if not self._busy[uid]:
                del self._busy[uid]

    def _place(self, garbage: Garbage, locator: Locator) -> ObjectRef | str:
        """Return the object to delete, or why that cannot be said."""
        try:
            ref = locator.find(garbage.artifact)
        except Refused as error:
            return str(error)
        return ref if ref is not None else f"artifact {garbage.artifact.name}: it lies in no store"

    async def _delete(self, place: ObjectRef | str, garbage: list[Garbage]) -> list[ArtifactFate]:
        """Delete one object, of which several nodes may have told."""
        error = place if isinstance(place, str) else ""
        if isinstance(place, ObjectRef):
            async with self._slots:
                try:
                    if not place.path.strip("/"):
                        raise FixRequest(f"{place}: a whole remote is not deleted")
                    await self._dataplane.discard(place)
                except PortError as failure:
                    error = str(failure)
        return [ArtifactFate(node_id=one.node_id, name=one.artifact.name, error=error) for one in garbage]
