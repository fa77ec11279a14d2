"""What people do with the primary by hand."""

import asyncio
from pathlib import Path

from msgspec.structs import replace

from jitflow.dataplane import records
from jitflow.dataplane.catalogue import ref_of
from jitflow.dataplane.core import Core, advice
from jitflow.dataplane.inside import lies_below, parents
from jitflow.dataplane.leases import Leases
from jitflow.dataplane.lookups import stat_all
from jitflow.model.data import FutureInput, FutureStep, ObjectInfo, ObjectRef, Replica, ReplicaState
from jitflow.model.problems import Problem, Refused
from jitflow.model.reports import ReplicaPage
from jitflow.planner import ItemView
from jitflow.ports.dataplane import DataEvent, Lease, LeaseRefused, Waiting
from jitflow.ports.errors import FixRequest, ObjectMissing, RemoteUnknown, Retryable
from jitflow.ports.store import StateStore

_UID = ""
"""The workflow of steps that people make by hand."""


class ByHand:
    """Staging, keeping and evicting single objects: a step of its own that ends as soon as its input is here."""

    def __init__(self, core: Core, leases: Leases) -> None:
        """Ask for leases as steps do."""
        self._core = core
        self._leases = leases
        self._staging: dict[str, asyncio.Future[None]] = {}
        self._leaving: dict[ObjectRef, list[asyncio.Future[None]]] = {}
        self._count = 0

    def takes(self, event: DataEvent) -> bool:
        """Take an event that belongs to a request made by hand."""
        future = self._staging.get(event.step)
        if future is None:
            return event.step.startswith("/")
        if isinstance(event, Lease) and not future.done():
            future.set_result(None)
        elif isinstance(event, LeaseRefused) and not future.done():
            future.set_exception(Refused(event.message))
        return isinstance(event, Lease | LeaseRefused | Waiting)

    async def stage(self, ref: ObjectRef) -> Replica:
        """Fetch an object now (see `PrimaryAdmin.stage`)."""
        core = self._core
        row = core.rows.get(ref)
        if row is None or not row.dirty:
            await self._look(ref)
        self._count += 1
        step = FutureStep(id=f"/stage/{self._count}", inputs=(FutureInput(ref=ref),))
        future = self._staging[step.id] = asyncio.get_running_loop().create_future()
        try:
            self._leases.ask(_UID, step)
            await future
            return replace(core.rows[ref], state=ReplicaState.RESIDENT)
        finally:
            del self._staging[step.id]
            self._leases.returned(step.id)
            core.planner.ended(step.id)
            core.pump()

    async def _look(self, ref: ObjectRef) -> None:
        core = self._core
        answer = (await stat_all(core, [ref], fresh=True))[ref]
        if not isinstance(answer, ObjectInfo):
            code = (
                "not_found"
                if isinstance(answer, ObjectMissing | RemoteUnknown)
                else "invalid"
                if isinstance(answer, FixRequest)
                else "unavailable"
            )
            raise Refused(Problem(message=advice(answer), remedy=f"check {ref}", code=code))
        core.know(ref, answer)
        row = core.rows.get(ref)
        if row is not None and row.version and answer.version and row.version != answer.version:
            core.planner.changed(ref)
        limit = core.planner.bytes.limit
        if answer.size_bytes > limit:
            message = f"{ref} has {answer.size_bytes:,} bytes, and the primary {limit:,}"
            raise Refused(Problem(message=message, remedy="make the capacity larger", code="too_large"))

    async def evict(self, ref: ObjectRef) -> None:
        """Remove a replica (see `PrimaryAdmin.evict`)."""
        core = self._core
        view = core.planner.item(ref)
        if view is None or ref not in core.rows:
            raise Refused(Problem(message=f"{ref} is not in the primary", code="not_found"))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._leaving.setdefault(ref, []).append(future)
        if view.state is not ReplicaState.EVICTING and not core.planner.evict(ref):
            self._leaving.pop(ref)
            raise Refused(Problem(message=f"{ref} cannot be evicted: {_why_not(view)}", code="conflict"))
        core.pump()
        await future
        await core.journal.durable()

    async def discard(self, ref: ObjectRef) -> None:
        """Delete an object far away and here (see `DataPlane.discard`)."""
        core = self._core
        attempt = 0
        while True:
            attempt += 1
            try:
                await core.storage.delete(ref)
                break
            except Retryable:
                if attempt >= core.tuning.attempts:
                    raise
            await core.clock.sleep(core.tuning.backoff(attempt))
        parts = [*core.rows.below(ref), *(other for other in core.infos if lies_below(other, ref))] if ref.is_prefix else []
        for other in dict.fromkeys((ref, *parents(ref), *parts)):
            core.infos.pop(other, None)
            core.planner.changed(other)
        core.pump()

    def gone(self, ref: ObjectRef) -> None:
        """A replica has been removed."""
        for future in self._leaving.pop(ref, ()):
            if not future.done():
                future.set_result(None)

    def local(self, ref: ObjectRef) -> Path | None:
        """Return where an object lies (see `PrimaryAdmin.local`)."""
        for whole in (ref, *parents(ref)):
            view, row = self._core.planner.item(whole), self._core.rows.get(whole)
            if row is None or view is None or view.state is not ReplicaState.RESIDENT:
                continue
            root = self._core.primary.local(row.location)
            if root is None:
                return None
            path = root / ref.path.removeprefix(whole.path) if whole != ref else root
            # Links inside of a directory must not lead out of it.
            return path if path.resolve().is_relative_to(root.resolve()) and path.exists() else None
        return None

    def near(self, ref: ObjectRef) -> ObjectRef | None:
        """Return the object of a near remote that holds a replica (see `PrimaryAdmin.near`)."""
        for whole in (ref, *parents(ref)):
            view, row = self._core.planner.item(whole), self._core.rows.get(whole)
            if row is None or view is None or view.state is not ReplicaState.RESIDENT:
                continue
            found = self._core.primary.remote(row.location)
            if found is None or not whole.is_prefix:
                return found
            return ObjectRef(remote=found.remote, path=f"{found.path}/{ref.path.removeprefix(whole.path)}")
        return None

    async def replicas(self, store: StateStore, after: str, limit: int) -> ReplicaPage:
        """Return a page of the catalogue (see `PrimaryAdmin.replicas`).

        The state store has the names in order; what is not there yet is on its way.
        """
        core = self._core
        await core.journal.durable()
        stored = [name for name, _ in await store.items(records.REPLICA, after=after, limit=limit)]
        last = stored[-1] if len(stored) == limit else ""
        coming = (str(ref) for ref in core.planner.coming_refs() if ref not in core.rows)
        names = {*stored, *(name for name in coming if name > after and (not last or name <= last))}
        page = sorted(names)[:limit]
        rows = (self.replica(ref_of(name)) for name in page)
        more = bool(last) or len(page) < len(names)
        return ReplicaPage(items=tuple(row for row in rows if row is not None), next=page[-1] if more else "")

    def replica(self, ref: ObjectRef) -> Replica | None:
        """Return an object's row with the state of now (see `PrimaryAdmin.replica`)."""
        view, row = self._core.planner.item(ref), self._core.rows.get(ref)
        if view is None or view.state is ReplicaState.ABSENT:
            return None
        if row is None:
            row = Replica(ref=ref, size_bytes=view.size_bytes or 0, state=view.state, location="")
        return replace(row, state=view.state, dirty=view.dirty, kept=view.kept, keepers=view.keepers)


def _why_not(view: ItemView) -> str:
    if view.dirty and view.transient:
        return "it is a result that steps hand on, and nowhere else"
    if view.dirty:
        return "it is an output that has not been proven at its secondary yet; `jitflow data uploads` says how it stands"
    if view.claims:
        return f"{view.claims} step(s) read it"
    if view.kept:
        return "it is kept; unpin it first"
    return f"it is {view.state}"
