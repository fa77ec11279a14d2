"""The data plane in this process: the planner's async shell."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from jitflow.dataplane import records
from jitflow.dataplane.adopting import Adopting
from jitflow.dataplane.bandwidth import Bandwidth
from jitflow.dataplane.byhand import ByHand
from jitflow.dataplane.checking import admit, check, outlook
from jitflow.dataplane.core import Core, NoLimits, Tuning, workflow_of
from jitflow.dataplane.costing import staging
from jitflow.dataplane.figures import figures
from jitflow.dataplane.freshness import Freshness, differs
from jitflow.dataplane.history import History
from jitflow.dataplane.inside import Gathered, Inside
from jitflow.dataplane.inventory import Inventory
from jitflow.dataplane.journal import Journal
from jitflow.dataplane.leases import Leases
from jitflow.dataplane.links import FILL_BYTES, FIRST_PART_BYTES, FIRST_STREAMS, PART_STREAMS, Links, LinkUse
from jitflow.dataplane.lookups import Lookups
from jitflow.dataplane.named import Named
from jitflow.dataplane.pins import Pins
from jitflow.dataplane.planning import Chooser, NoChooser, Planning, weight_of
from jitflow.dataplane.progress import Progress
from jitflow.dataplane.provenance import Provenance, Unwitnessed
from jitflow.dataplane.quotas import Quotas
from jitflow.dataplane.reality import Reality
from jitflow.dataplane.stageout import StageOut
from jitflow.dataplane.standing import GATHERED, UNPLANNED, Standing
from jitflow.dataplane.tasks import Owner
from jitflow.dataplane.transfers import Transfers
from jitflow.dataplane.transients import Transients
from jitflow.dataplane.unsent import UnsentFolder
from jitflow.dataplane.uploads import Uploads
from jitflow.dataplane.worlds import Worlds
from jitflow.model.data import FutureStep, ObjectInfo, ObjectRef, Replica, StepId, WorkflowUid
from jitflow.model.problems import Problem, Refused
from jitflow.model.reasons import StepStanding
from jitflow.model.reports import (
    Adoption,
    Estimate,
    LinkInfo,
    PinView,
    PrimaryCheck,
    PrimaryFill,
    QuotaView,
    ReplicaPage,
    StepData,
    TransferRecord,
    Upload,
)
from jitflow.model.staging import StagingEstimate
from jitflow.planner import (
    Bypass,
    Cancel,
    Command,
    Evict,
    Fetch,
    Forget,
    Grant,
    Hurry,
    Look,
    Planner,
    PlannerOptions,
    Refuse,
    Store,
    Take,
)
from jitflow.ports.clock import Clock
from jitflow.ports.dataplane import DataEvent, DataListener, Lease, LeaseRefused, OutputObject, Quota, StagedOut, Waiting
from jitflow.ports.errors import PortError
from jitflow.ports.primary import Primary
from jitflow.ports.spending import NoSpending, Spending
from jitflow.ports.storage import Storage
from jitflow.ports.store import StateStore
from jitflow.telemetry.metrics import Figures

log = logging.getLogger("jitflow.dataplane")

_LAST_WORDS_S = 10.0
_FREE_FLOOR_BYTES = 64 << 20
_UPLOADS = 16


class LocalDataPlane:
    """Implements `DataPlane` and `PrimaryAdmin` over a directory. Use it from one event loop."""

    def __init__(
        self,
        primary: Primary,
        capacity_bytes: int,
        storage: Storage,
        store: StateStore,
        clock: Clock,
        *,
        transfers: int = 64,
        ranges: int = PART_STREAMS,
        link_transfers: Mapping[str, int] | None = None,
        queued_ahead: int = 1,
        workers: int = 8,
        window: int = 512,
        default_output_bytes: int = 1 << 20,
        free_floor_bytes: int = _FREE_FLOOR_BYTES,
        max_objects: int = 0,
        unsent_dir: Path | None = None,
        tuning: Tuning | None = None,
        chooser: Chooser | None = None,
        quotas: Mapping[str, Quota] | None = None,
        bandwidth: Bandwidth | None = None,
        provenance: Provenance | None = None,
        moved: Callable[[TransferRecord], None] = lambda _record: None,
        spending: Spending | None = None,
        inventory: Inventory | None = None,
    ) -> None:
        """Use `primary` for at most `capacity_bytes`.

        Args:
            primary: the near store.
            capacity_bytes: what the primary may hold, resident and under way together.
            storage: the far stores.
            store: where the catalogue and the promises are kept.
            clock: time.
            transfers: streams at once over the link of each far store, at most.
            ranges: in so many one object comes at once, at most.
            link_transfers: another number for some of them.
            queued_ahead: so many times these are handed to the storage at once, where it bounds the streams by itself.
            workers: steps that run at once; how far claims run ahead.
            window: objects fetched ahead of the steps that have asked.
            default_output_bytes: reserved for an output of which nothing is known.
            free_floor_bytes: what is always left free on the primary's disk.
            max_objects: how many replicas the primary may hold; 0: any number.
            unsent_dir: where outputs are kept that could not be sent and have no place in the primary; None: where they are.
            tuning: limits of patience.
            chooser: chooses plans; without one workflows are gone through in the plain order.
            quotas: what namespaces may have in the primary; `*`: each of which nothing else is said.
            bandwidth: the limits of links, which its maker opens and closes; without them there are none.
            provenance: writes down what steps read and write; its maker opens and closes it. Without one nobody does.
            moved: is told of each transfer that has ended.
            inventory: keeps listings for a while; without one each workflow has its objects listed.
            spending: is told what moves for whom, and says who may not any more; its maker opens and closes it.
        """
        options = PlannerOptions(
            transfers=transfers,
            workers=workers,
            window=window,
            max_objects=max_objects,
            default_output_bytes=default_output_bytes,
            part_bytes=FIRST_PART_BYTES,
            part_streams=min(ranges, transfers),
            fill_streams=min(FIRST_STREAMS, transfers),
            fill_bytes=FILL_BYTES,
            yielding=True,
        )
        self._queued_ahead = queued_ahead
        self._ranges = ranges
        self._store = store
        self._listener: DataListener = _nobody
        self._shared: dict[str, DataListener] = {}
        """Who else is told of steps, by how their workflows' uids begin."""
        self._owner = Owner(_task_failed)
        journal = Journal(store)
        self._core = core = Core(
            planner=Planner(capacity_bytes, options),
            primary=primary,
            storage=storage,
            journal=journal,
            history=History(journal, clock.now, moved),
            clock=clock,
            owner=self._owner,
            tuning=tuning or Tuning(),
            emit=self._emit,
            free_floor_bytes=free_floor_bytes,
            limits=bandwidth or NoLimits(),
            provenance=provenance or Unwitnessed(),
            spending=spending or NoSpending(),
            inventory=inventory,
        )
        self._lookups = Lookups(core, self._refuse)
        self._links = Links(transfers, dict(link_transfers or {}), clock.now, self._set_link, core.limits.rate)
        if bandwidth is not None:
            bandwidth.on_change = self._limits_changed
        self._worlds = Worlds(core, self._links.states)
        self._quotas = Quotas(core, quotas or {})
        self._deaf = core.spending.subscribe(self._budget_changed)
        self.inventory = core.inventory
        """Listings of far stores that are kept."""
        core.inventory.stale = self._stale
        core.inventory.near = core.rows.below
        self._pins = Pins(core)
        self._planning = Planning(core, chooser or NoChooser(), self._worlds, self._quotas.of_workflow)
        self._transfers = Transfers(core, self._links, self._refuse)
        self._uploads = Uploads(core, min(transfers, _UPLOADS), self._links)
        self._transients = Transients(core)
        self._stageout = StageOut(core, self._uploads, self._transients, UnsentFolder(unsent_dir))
        self._progress = Progress(core, self._lookups, self._transfers, self._stageout)
        self._named = Named(core)
        self._inside = Inside(core)
        self._leases = Leases(core, self._progress, self._named, self._inside, self._refuse)
        self._by_hand = ByHand(core, self._leases)
        self._reality = Reality(core)
        self._adopting = Adopting(core)
        self._freshness = Freshness(core)
        self._looking: set[StepId] = set()
        """Steps that have asked and whose inputs are looked at before the planner hears of it."""
        self._gathered = Gathered(core, self._stageout.unproven, self._stageout.export)
        self._standing = Standing(
            core,
            self._progress,
            self._leases,
            self._gathered,
            self._planning,
            lookups=self._lookups,
            transfers=self._transfers,
        )
        for remote in link_transfers or ():
            self._links.know(remote)
        core.perform = self._perform
        core.decided = self._stageout.decided
        core.came = self._pins.came
        core.arrived_bytes = self._transfers.arrived_bytes
        core.moving_Bps = self._transfers.moving_Bps
        core.partial_bytes = self._transfers.partial_bytes

    # -- life --------------------------------------------------------------------------------------------------------------

    async def open(self, listener: DataListener) -> None:
        """Load the catalogue, compare it with the disk, go on with what was under way (see `DataPlane.open`)."""
        core = self._core
        self._listener = listener
        begun = await self._transfers.load(self._store)
        await core.primary.open({doc.location for doc in begun})
        await core.history.load(self._store)
        await self._planning.load(self._store)
        await self._quotas.load(self._store)
        await self._stageout.load(self._store)
        for obligation in self._stageout.obligations.values():
            self._gathered.wrote(obligation.uid, (output.ref for output in obligation.outputs))
        core.load_freed(await self._store.items(records.FREED))
        await self._reality.load(self._store, self._stageout.promised(), self._pins)
        await self._leases.load(self._store, self._stageout.obligations)
        self._reality.let_go()
        self._transfers.adopt(begun)
        await core.primary.settle()
        self._owner.start(core.journal.run(), "journal")
        if core.tuning.check_every_s:
            self._owner.start(self._reality.watch(core.tuning.check_every_s), "compare the primary with the catalogue")
        self._stageout.resume()
        core.pump()

    async def close(self) -> None:
        """Stop transfers and write the catalogue (see `DataPlane.close`)."""
        self._deaf()
        self._core.closing = True
        with contextlib.suppress(PortError, OSError, TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._reality.remember()
        await self._core.primary.close()
        await self._owner.close()
        await self._core.journal.flush()

    def share(self, prefix: str, listener: DataListener) -> None:
        """Tell somebody else of some workflows (see `SharedDataPlane.share`)."""
        self._shared[prefix] = listener

    def doubt(self) -> None:
        """Hold leases only as long as somebody asks for them again (see `DrivenDataPlane.doubt`)."""
        self._leases.doubt()

    async def settled(self) -> None:
        """Return when what was said so far is written down (see `DrivenDataPlane.settled`)."""
        await self._core.journal.durable()

    # -- what the engine says ----------------------------------------------------------------------------------------------

    def belongs(self, uid: WorkflowUid, namespace: str, trace: str = "") -> None:
        """Say whose a workflow is (see `DataPlane.belongs`); its trace is of no use in here."""
        del trace
        self._quotas.belongs(uid, namespace)

    def workflows(self) -> Collection[WorkflowUid]:
        """Return the workflows that were not withdrawn (see `DataPlane.workflows`)."""
        promised = (one.uid for one in self._stageout.obligations.values() if not one.orphan)
        return tuple(dict.fromkeys((*self._quotas.workflows(), *promised)))

    async def admit(self, uid: WorkflowUid, steps: Sequence[FutureStep], namespace: str = "") -> None:
        """Look a workflow's inputs up before it begins (see `DataPlane.admit`)."""
        self._freshness.begin(uid)
        await admit(self._core, steps, namespace, self._quotas.of(namespace))
        await self._named.look(uid, steps)

    async def check(self, uid: WorkflowUid, steps: Sequence[FutureStep], namespace: str = "") -> Estimate:
        """Say what a workflow will take (see `DataPlane.check`)."""
        self._freshness.begin(uid)
        quota = self._quotas.of(namespace)
        return await check(self._core, uid, steps, self._planning, self._worlds, namespace=namespace, quota=quota)

    async def outlook(self, workflows: Sequence[tuple[WorkflowUid, Sequence[FutureStep]]]) -> Estimate:
        """Say what is still to come of workflows that run (see `DataPlane.outlook`)."""
        plans = {uid: plan for uid, _ in workflows if (plan := self._planning.plan(uid)) is not None}
        notes = tuple(note for uid, _ in workflows if (note := self._planning.note(uid)) is not None)
        return replace(await outlook(self._core, workflows, plans, self._worlds), plans=notes)

    def announce(self, uid: WorkflowUid, steps: Sequence[FutureStep], *, open_ended: bool = False, priority: int = 0) -> None:
        """Say what a workflow will read and write (see `DataPlane.announce`)."""
        self._quotas.keep(uid)
        self._uploads.prefer(uid, priority)
        steps = [self._named.missing(uid, step) for step in steps]
        self._planning.announce(uid, self._gathered.announced(uid, steps), weight_of(priority))
        for ref in self._transients.announced(uid, steps, open_ended=open_ended):
            self._stageout.export(ref)
        self._core.pump()
        self._uploads.turns.reorder()

    def acquire(self, uid: WorkflowUid, step: FutureStep) -> None:
        """Ask for a step's lease (see `DataPlane.acquire`)."""
        step = self._named.missing(uid, step)
        if not step.inputs and not step.outputs:
            self._emit(Lease(step=step.id))
            return
        self._quotas.keep(uid)
        step = self._transients.marked(uid, step)
        if self._gathered.holds(uid, step):
            self._emit(Waiting(step=step.id, message=GATHERED))
            return
        outer = self._inside.outer(step)
        doubtful = self._freshness.doubtful(uid, outer)
        if doubtful and not self._leases.holds(step.id):
            self._owner.start(self._look_and_ask(uid, outer, doubtful), f"look at the inputs of {step.id}")
        else:
            self._ask(uid, outer)

    def _ask(self, uid: WorkflowUid, step: FutureStep) -> None:
        if not self._planning.ask(uid, step.id, partial(self._leases.ask, uid, step)):
            self._emit(Waiting(step=step.id, message=UNPLANNED))

    async def _look_and_ask(self, uid: WorkflowUid, step: FutureStep, doubtful: Sequence[ObjectRef]) -> None:
        self._looking.add(step.id)
        await self._freshness.look(doubtful)
        if step.id in self._looking:
            self._looking.discard(step.id)
            self._ask(uid, step)

    def release(self, step: StepId, outputs: Sequence[OutputObject], *, good: bool = True) -> None:
        """The step has ended (see `DataPlane.release`)."""
        family = self._leases.family(step)
        self._inside.forget(step)
        self._gathered.forget(step)
        self._looking.discard(step)
        self._planning.ended(workflow_of(step), step)
        self._gathered.wrote(workflow_of(step), (output.ref for output in outputs))
        self._leases.returned(step)
        if not outputs and not self._core.planner.knows(step):
            return
        self._quotas.keep(workflow_of(step))
        if not outputs or not self._stageout.take_over(step, outputs, family, good=good):
            self._core.planner.ended(step)
            if not outputs:
                self._transients.ended(step, family, good=good)
            self._core.pump_soon()
            self._uploads.turns.reorder()

    async def discard(self, ref: ObjectRef) -> None:
        """Delete an object far away and here (see `DataPlane.discard`)."""
        self._stageout.discard(ref)
        async with self._stageout.alone(ref):
            await self._by_hand.discard(ref)

    def withdraw(self, uid: WorkflowUid, *, good: bool = True) -> None:
        """The workflow has ended (see `DataPlane.withdraw`)."""
        self._freshness.end(uid)
        self._looking = {step for step in self._looking if workflow_of(step) != uid}
        self._gathered.withdraw(uid)
        self._named.withdraw(uid)
        self._planning.withdraw(uid)
        self._leases.withdraw(uid)
        self._core.planner.withdraw(uid)
        for ref in self._transients.withdraw(uid, good=good):
            self._stageout.export(ref)
        self._core.pump()
        self._stageout.withdraw(uid)
        self._core.provenance.left(uid)
        self._uploads.prefer(uid, 0)
        self._quotas.withdraw(uid)
        self._core.pump()

    def _set_link(self, remote: str, use: LinkUse) -> None:
        self._core.planner.set_link(
            remote,
            transfers=use.most_streams * self._queued_ahead,
            fill_streams=use.streams,
            fill_bytes=use.fill_bytes,
            part_bytes=use.part_bytes,
            part_streams=min(self._ranges, use.streams),
            alone_part_bytes=FIRST_PART_BYTES,
            rate_Bps=use.rate_Bps,
            latency_s=use.latency_s,
        )
        self._core.heard()

    def _stale(self, ref: ObjectRef, now: ObjectInfo | None) -> bool:
        """An object has changed at its source, or is gone: give its replica to nobody any more."""
        core = self._core
        if now is None:
            core.infos.pop(ref, None)
        else:
            core.know(ref, now)
        row = core.rows.get(ref)
        if row is None or row.dirty or (now is not None and not differs(row.version, row.size_bytes, now)):
            return False
        core.planner.changed(ref)
        core.pump_soon()
        return True

    def _budget_changed(self, namespace: str) -> None:
        self._quotas.budget_changed(namespace)
        self._core.pump_soon()

    def _limits_changed(self) -> None:
        self._links.limits_changed()
        self._core.pump()

    # -- what the planner says ---------------------------------------------------------------------------------------------

    def _perform(self, command: Command) -> None:
        match command:
            case Look():
                self._lookups.look(command)
            case Fetch() | Hurry() | Cancel() | Forget():
                self._transfers.perform(command)
            case Evict(ref=ref):
                self._evict(ref)
            case Store():
                self._stageout.store(command)
            case Take() | Bypass():
                self._transfers.replaced(command)
                if not self._adopting.takes(command):
                    self._stageout.answered(command)
            case Grant(step=step):
                self._leases.granted(step)
            case Refuse(step=step, message=message):
                self._leases.returned(step)
                self._emit(LeaseRefused(step=step, message=message))

    def _evict(self, ref: ObjectRef) -> None:
        """Free a replica's bytes: a file at once, a tree in the background."""
        self._stageout.freed(ref)
        row = self._core.rows[ref]
        rest = self._core.primary.remove(row.location)
        if rest is None:
            self._gone(ref)
        else:
            self._owner.start(self._empty(ref, rest), f"evict {ref}")

    async def _empty(self, ref: ObjectRef, rest: Coroutine[Any, Any, None]) -> None:
        await rest
        self._gone(ref)
        self._core.pump()

    def _gone(self, ref: ObjectRef) -> None:
        self._core.drop_row(ref)
        self._core.planner.evicted(ref)
        self._by_hand.gone(ref)

    def _refuse(self, step: StepId, message: str) -> None:
        """A step can never start."""
        self._core.planner.refused(step)
        self._leases.returned(step)
        self._emit(LeaseRefused(step=step, message=message))

    def _emit(self, event: DataEvent) -> None:
        if not self._by_hand.takes(event):
            listener = self._listener
            if self._shared:
                listener = next((heard for prefix, heard in self._shared.items() if event.step.startswith(prefix)), listener)
            listener(self._inside.shown(event) if isinstance(event, Lease) else event)
        if isinstance(event, StagedOut):
            for uid, step in self._gathered.released():
                self.acquire(uid, step)

    # -- what people see and do --------------------------------------------------------------------------------------------

    def fill(self) -> PrimaryFill:
        """Return how full the primary is now (see `PrimaryAdmin.fill`)."""
        books = self._core.planner.bytes
        counters = self._core.history.counters
        return PrimaryFill(
            capacity_bytes=books.limit,
            used_bytes=books.used,
            resident_bytes=books.resident,
            pinned_bytes=books.pinned,
            dirty_bytes=books.dirty,
            peak_bytes=max(counters.peak_bytes, books.peak),
            fetched_bytes=counters.fetched_bytes,
            fetched_twice_bytes=counters.fetched_twice_bytes,
            stored_bytes=counters.stored_bytes,
            strangers_bytes=self._core.strangers_bytes,
            kept_bytes=books.kept,
            shared_bytes=counters.shared_bytes,
            objects=books.objects,
            max_objects=books.max_objects,
        )

    def figures(self) -> Figures:
        """Return the figures of the primary and of the links, for metrics."""
        return figures(self, self._core.history)

    async def replicas(self, *, after: str = "", limit: int = 1000) -> ReplicaPage:
        """Return a page of the catalogue (see `PrimaryAdmin.replicas`)."""
        return await self._by_hand.replicas(self._store, after, limit)

    def replica(self, ref: ObjectRef) -> Replica | None:
        """Return an object's row (see `PrimaryAdmin.replica`)."""
        return self._by_hand.replica(ref)

    def step_data(self, uid: WorkflowUid) -> Sequence[StepData]:
        """Return where the data of a workflow's steps stands (see `PrimaryAdmin.step_data`)."""
        return self._progress.steps(uid)

    def standing(self, step: StepId) -> StepStanding:
        """Return where a step's inputs stand or came from (see `PrimaryAdmin.standing`)."""
        found = self._standing.of(step)
        return replace(found, plan=self._planning.place(step)) if found.phase == "waiting" or found.objects else found

    def read_bytes(self, step: StepId) -> int:
        """Return what a step has read near (see `PrimaryAdmin.read_bytes`)."""
        read = self._core.history.what_read(step)
        return sum(size for _, size in read.inputs) if read is not None else 0

    async def timeline(self, *, since: float = 0.0) -> tuple[Sequence[TransferRecord], Sequence[tuple[float, int]]]:
        """Return finished transfers and the fill since a time (see `PrimaryAdmin.timeline`)."""
        return self._core.history.since(since)

    def local(self, ref: ObjectRef) -> Path | None:
        """Return the file or directory that holds an object (see `PrimaryAdmin.local`)."""
        return self._by_hand.local(ref)

    def near(self, ref: ObjectRef) -> ObjectRef | None:
        """Return the object of a near remote that holds another one (see `PrimaryAdmin.near`)."""
        return self._by_hand.near(ref)

    def freed_output_of(self, ref: ObjectRef) -> StepId:
        """Return which step wrote an output that was let go (see `PrimaryAdmin.freed_output_of`)."""
        return self._core.freed_output_of(ref)

    def uploads(self) -> Sequence[Upload]:
        """Return the outputs that are not at their secondaries (see `PrimaryAdmin.uploads`)."""
        return self._stageout.listed()

    def links(self) -> Sequence[LinkInfo]:
        """Return what is known of the far stores' links (see `PrimaryAdmin.links`)."""
        return self._links.states()

    def retry_uploads(self, ref: ObjectRef | None = None) -> Sequence[ObjectRef]:
        """Send again what could not be sent (see `PrimaryAdmin.retry_uploads`)."""
        started = self._stageout.retry(ref)
        if ref is not None and not started:
            raise _no_failure(ref)
        return started

    async def drop_upload(self, ref: ObjectRef) -> None:
        """Delete an output that could not be sent (see `PrimaryAdmin.drop_upload`)."""
        if not self._stageout.give_up(ref):
            raise _no_failure(ref)
        await self._core.journal.durable()

    async def stage(self, ref: ObjectRef) -> Replica:
        """Fetch an object now (see `PrimaryAdmin.stage`)."""
        return await self._by_hand.stage(ref)

    async def explain(self, refs: Sequence[ObjectRef]) -> StagingEstimate:
        """Say what staging objects would take (see `PrimaryAdmin.explain`)."""
        return await staging(self._core, self._worlds, refs)

    async def pin(self, ref: ObjectRef, namespace: str = "") -> PinView:
        """Keep a replica or what is below a prefix (see `PrimaryAdmin.pin`)."""
        return await self._pins.add(ref, namespace)

    async def unpin(self, ref: ObjectRef, namespace: str = "") -> PinView:
        """Take a pin away (see `PrimaryAdmin.unpin`)."""
        return await self._pins.remove(ref, namespace)

    def pins(self) -> Sequence[PinView]:
        """Return what is pinned (see `PrimaryAdmin.pins`)."""
        return tuple(self._pins.listed())

    def quotas(self) -> Sequence[QuotaView]:
        """Return what each namespace has and may have (see `PrimaryAdmin.quotas`)."""
        return self._quotas.views()

    async def compare(self, *, remove: bool = False, hashes: bool = False) -> PrimaryCheck:
        """Compare the catalogue with what is really there (see `PrimaryAdmin.compare`)."""
        try:
            return await self._reality.compare(remove=remove, hashes=hashes)
        except PortError as error:
            raise Refused(Problem(message=f"the primary cannot be looked at: {error}", code="unavailable")) from error

    async def adopt(self, place: str, prefix: ObjectRef, *, move: bool = False) -> Adoption:
        """Take files that are near already for objects (see `PrimaryAdmin.adopt`)."""
        return await self._adopting.adopt(place, prefix, move=move)

    async def evict(self, ref: ObjectRef) -> None:
        """Remove a replica (see `PrimaryAdmin.evict`)."""
        await self._by_hand.evict(ref)


def _no_failure(ref: ObjectRef) -> Refused:
    message = f"{ref} is no output that could not be sent"
    return Refused(Problem(message=message, remedy="`jitflow data uploads` lists them", code="not_found"))


def _nobody(_: DataEvent) -> None:
    raise Refused("the data plane is not open")


def _task_failed(error: BaseException) -> None:
    log.error("a task of the data plane failed", exc_info=error)
