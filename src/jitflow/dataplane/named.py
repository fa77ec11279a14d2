"""Objects that steps read by themselves, under names in a near store: each is there while a step runs that reads it.

What lies there already belongs to somebody else: it is read as it is, not fetched, and never deleted.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from jitflow.dataplane import records
from jitflow.dataplane.core import Core, advice
from jitflow.dataplane.lookups import stat_all
from jitflow.dataplane.records import LeaseDoc
from jitflow.model.data import FutureStep, ObjectInfo, ObjectRef, Replica, StepId, WorkflowUid
from jitflow.ports.errors import ObjectMissing, PortError
from jitflow.ports.store import StateStore

log = logging.getLogger("jitflow.dataplane")


class Named:
    """Puts copies of replicas under their names before a step starts, and takes them away when no step reads them."""

    def __init__(self, core: Core) -> None:
        """Begin with nothing put."""
        self._core = core
        self._there: dict[WorkflowUid, frozenset[ObjectRef]] = {}
        """What was near under its name already when a workflow was submitted."""
        self._readers: dict[ObjectRef, set[StepId]] = {}
        self._put: set[ObjectRef] = set()
        """What was put by us: it is ours to take away."""
        self._locks: dict[ObjectRef, asyncio.Lock] = {}

    async def load(self, store: StateStore, held: Iterable[LeaseDoc]) -> None:
        """Take away what an earlier life has put, but for what steps read that may still run."""
        for doc in held:
            for near in _names(doc.step):
                self._readers.setdefault(near, set()).add(doc.step.id)
        self._put = {msgspec.json.decode(body, type=ObjectRef) for _, body in await store.items(records.NAMED)}
        for near in self._put - self._readers.keys():
            self._core.owner.start(self._take_away(near), f"take {near} away")

    async def look(self, uid: WorkflowUid, steps: Sequence[FutureStep]) -> None:
        """Find out what a workflow's steps will find near without us; the far objects have been looked up."""
        wanted = {one.near: one.ref for step in steps for one in step.inputs if one.near is not None}
        if not wanted:
            return
        answers = await stat_all(self._core, list(wanted))
        infos = self._core.infos
        found = frozenset(
            near
            for near, far in wanted.items()
            if isinstance(answer := answers[near], ObjectInfo)
            and near not in self._put
            and (far not in infos or infos[far].size_bytes == answer.size_bytes)
        )
        self._there[uid] = (self._there.get(uid, frozenset()) - wanted.keys()) | found

    def missing(self, uid: WorkflowUid, step: FutureStep) -> FutureStep:
        """Return the step without the inputs that are near under their names already."""
        there = self._there.get(uid)
        if not there or not any(one.near in there for one in step.inputs):
            return step
        return replace(step, inputs=tuple(one for one in step.inputs if one.near not in there))

    def withdraw(self, uid: WorkflowUid) -> None:
        """The workflow has ended."""
        self._there.pop(uid, None)

    async def put(self, step: FutureStep, rows: Mapping[ObjectRef, Replica]) -> None:
        """Have the step's objects under their names; where that fails, the step does without, and it is logged."""
        for one in step.inputs:
            if one.near is None or one.ref not in rows:
                continue
            self._readers.setdefault(one.near, set()).add(step.id)
            try:
                async with self._locks.setdefault(one.near, asyncio.Lock()):
                    await self._have(one.near, rows[one.ref])
            except PortError as error:
                log.warning("%s is not put under its name, %s reads it from afar: %s", one.near, step.id, advice(error))

    async def _have(self, near: ObjectRef, row: Replica) -> None:
        core = self._core
        try:
            info = await core.storage.stat(near)
        except ObjectMissing:
            info = None
        if info is not None and (near not in self._put or info.size_bytes == row.size_bytes):
            return
        self._put.add(near)
        core.journal.put(records.NAMED, str(near), records.encode(near))
        await core.journal.durable()
        await core.primary.send(row.location, near, lambda _: None)

    def give_back(self, step: FutureStep) -> None:
        """The step has ended."""
        for near in _names(step):
            readers = self._readers.get(near, set())
            readers.discard(step.id)
            if not readers:
                self._readers.pop(near, None)
                if near in self._put and not self._core.closing:
                    self._core.owner.start(self._take_away(near), f"take {near} away")

    async def _take_away(self, near: ObjectRef) -> None:
        core = self._core
        async with self._locks.setdefault(near, asyncio.Lock()):
            if near in self._readers or near not in self._put:
                return
            try:
                await core.storage.delete(near)
            except PortError as error:
                # It stays on the books: the next life tries again.
                log.warning("%s cannot be taken away: %s", near, advice(error))
                return
            self._put.discard(near)
            core.journal.put(records.NAMED, str(near), None)
        self._locks.pop(near, None)


def _names(step: FutureStep) -> list[ObjectRef]:
    return [one.near for one in step.inputs if one.near is not None]
