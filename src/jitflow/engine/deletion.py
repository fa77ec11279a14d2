"""Deletes runs: what they give up first, then what is kept of them, then those that belong to them."""

import contextlib
from collections.abc import Awaitable, Callable

from jitflow import machine
from jitflow.engine import archive
from jitflow.engine.changes import Change
from jitflow.engine.documents import Documents
from jitflow.engine.garbage import GarbageCollector
from jitflow.engine.janitor import Janitor
from jitflow.engine.limits import ClaimKeeper
from jitflow.engine.locations import Locator
from jitflow.engine.owned import Owned
from jitflow.engine.plugins import keys_of
from jitflow.engine.podkeeper import pod_key
from jitflow.engine.run import LiveRun, Turn
from jitflow.engine.runs import Runs
from jitflow.engine.tasks import Owner
from jitflow.model.objects import Objects
from jitflow.model.problems import Refused
from jitflow.model.runs import DeleteArtifacts, DeletionRequested, Event, ShutdownRequested
from jitflow.ports.clock import Clock
from jitflow.ports.dataplane import DataPlane
from jitflow.ports.executor import Executor
from jitflow.ports.store import StateStore, StoredRun

GC_WAIT_S = 15.0
GC_LOOK_S = 0.05
"""A deletion waits so long for artifacts to be deleted before it is left to go on by itself."""

END_LOOK_S = 0.02
"""How often it is looked whether a run that is to be deleted has ended."""


class Deletion:
    """What becomes of runs that have ended: by request, when their time is over, or with whom they belong to."""

    def __init__(
        self,
        runs: Runs,
        *,
        store: StateStore,
        executor: Executor,
        dataplane: DataPlane,
        clock: Clock,
        owner: Owner,
        locator: Callable[[], Locator],
        objects: Objects,
        documents: Documents,
        claims: ClaimKeeper,
    ) -> None:
        """Hold the adapters; `open` begins."""
        self._runs = runs
        self._store = store
        self._executor = executor
        self._clock = clock
        self._owner = owner
        self._documents = documents
        self._claims = claims
        self.garbage = GarbageCollector(store, dataplane, owner, locator, self._tell)
        self._janitor = Janitor(store, clock, owner, self.delete)
        self._owned = Owned(store, objects, self._delete_quietly)

    async def open(self) -> None:
        """Go on after a restart with times that run out, and with owners that are known; `resume` does the rest."""
        await self._janitor.open({run.uid for run in self._runs})
        await self._owned.open()

    async def resume(self) -> None:
        """Go on with the artifacts of finished runs that were being deleted, and with what lost its owner meanwhile."""
        for uid in await self.garbage.pending():
            run = await self._runs.load(uid)
            effects = [] if run is None else [one for one in run.open_effects.values() if isinstance(one, DeleteArtifacts)]
            for effect in effects:
                self.garbage.start(uid, effect)
            if run is None or (not effects and run.state.run.finished_at is not None):
                await self.garbage.forget(uid)
                if run is not None and run.state.run.deleting is not None and not machine.holds_back(run.state):
                    await self._remove(uid)
        self.owner_gone()

    def close(self) -> None:
        """Delete nothing more by itself."""
        self._janitor.close()

    # -- what has to be remembered ------------------------------------------------------------------------------------

    def prepare(self, run: LiveRun, turn: Turn) -> Awaitable[None] | None:
        """Take note of artifacts to be deleted and of a time to live, before the turn that says so is stored; None: of none."""
        if not turn.effects and turn.state.run.finished_at is None:
            return None
        return self._prepare(run, turn)

    async def _prepare(self, run: LiveRun, turn: Turn) -> None:
        ended = turn.state.run
        if any(isinstance(effect, DeleteArtifacts) for effect in turn.effects.values()):
            await self.garbage.remember(run.uid)
        if ended.finished_at is not None and run.row.finished_at is None:
            await self._janitor.remember(run.uid, turn.state.program.spec, ended.phase, ended.finished_at)

    def belongs(self, run: LiveRun) -> Awaitable[None] | None:
        """Take note of whom a run belongs to, before it is stored; None: to nobody."""
        references = run.state.program.metadata.owner_references
        return self._owned.remember(run.uid, run.row.namespace, references) if references else None

    def not_stored(self, uid: str) -> None:
        """A run could not be stored: it belongs to nobody."""
        self._owner.spawn(self._owned.forget(uid), f"forget whose {uid} is")

    def forget_end(self, uid: str) -> None:
        """A run goes on or is gone: its time to live does not count any more, nor what was known of its end."""
        self._documents.forget(uid)
        self._janitor.forget(uid)

    # -- deletion -----------------------------------------------------------------------------------------------------

    async def delete(self, uid: str, *, force: bool = False) -> None:
        """Remove a run and its logs; see `Engine.delete`."""
        run = self._runs.get(uid)
        if run is not None and run.state.run.finished_at is None:
            await self._runs.deliver(run, ShutdownRequested(strategy="Terminate"))
            while (run := self._runs.get(uid)) is not None and run.state.run.finished_at is None:
                await self._clock.sleep(END_LOOK_S)
        if force or not machine.holds_back(await self._runs.existing(uid)):
            await self._remove(uid)
            return
        await self._tell(uid, DeletionRequested())
        for _ in range(int(GC_WAIT_S / GC_LOOK_S)):
            if not self.garbage.is_busy(uid):
                break
            await self._clock.sleep(GC_LOOK_S)
        state = await self._runs.state_of(uid)
        if state is not None and state.run.gc_error:
            message = f"workflow {state.program.name} is not deleted, for its artifacts could not be: {state.run.gc_error}"
            raise Refused(f"{message}; delete it again when that is mended, or with force to leave them", code="conflict")

    async def leave_archive(self, uid: str) -> None:
        """Remove a run from the archive, and only there.

        Raises:
            Refused: it is not in the archive (code `not_found`).
        """
        async with self._runs.settled(uid) as run:
            stored = await self._store.load(uid)
            if stored is None or not stored.row.archived:
                raise Refused(f"there is no archived workflow with uid {uid!r}", code="not_found")
            row = await archive.without_record(self._store, stored)
            if run is not None:
                run.row = row
        self._documents.forget(uid)
        self._runs.tell(Change(kind="MODIFIED" if row.live else "DELETED", row=row))

    def owner_gone(self, uid: str = "") -> None:
        """An object of this uid was deleted (none given: some may have been): the runs that belong to it are deleted too."""
        self._owner.spawn(self._owned.collect(uid), f"delete what belonged to {uid}")

    async def _delete_quietly(self, uid: str) -> None:
        with contextlib.suppress(Refused):  # it is gone already
            await self.delete(uid)

    async def _tell(self, uid: str, event: Event) -> None:
        """Deliver an event to a run that has ended; one that is to be deleted goes when nothing holds it back any more."""
        run = self._runs.get(uid) or await self._runs.load(uid)
        if run is None:
            await self.garbage.forget(uid)
            return
        run = self._runs.hold(run)
        await self._runs.deliver(run, event)
        self._documents.forget(uid)
        if run.state.run.finished_at is None:
            return
        if not run.inbox:
            self._runs.drop(uid)
        if not run.state.run.gc_open:
            await self.garbage.forget(uid)
        if run.state.run.deleting is not None and not machine.holds_back(run.state):
            await self._remove(uid)

    async def _remove(self, uid: str) -> None:
        async with self._runs.settled(uid):
            stored = await self._store.load(uid)
            if stored is None or not stored.row.live:
                return
            row = await archive.without_object(self._store, stored)
            self._runs.drop(uid)
        self.forget_end(uid)
        await self.garbage.forget(uid)
        await self._clear(stored)
        await self._owned.forget(uid)
        self._runs.tell(Change(kind="DELETED", row=row))
        self.owner_gone(uid)

    async def _clear(self, stored: StoredRun) -> None:
        """Delete what a run leaves beside its record: volume claims and logs."""
        uid, program = stored.row.uid, machine.restore(stored.header, ()).program
        if program.claims:
            names = [(claim.metadata and claim.metadata.name) or "" for claim in program.claims]
            await self._claims.drop(stored.row.namespace, names)
        own_plugins = keys_of(uid, program.spec.executor_plugins)
        await self._executor.delete_logs([*(pod_key(uid, node_id) for node_id, _ in stored.nodes), *own_plugins])
