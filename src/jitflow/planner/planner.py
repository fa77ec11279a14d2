"""What to fetch, keep, evict and start: over all workflows and the whole primary. Pure and incremental.

Events go in through methods, decisions come out of `decide(now)` as commands; each command is answered by an event. The cost
of an event is logarithmic in the number of steps and objects (plus the objects of the steps it touches).
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from jitflow.model.data import FutureStep, ObjectRef, ReplicaState, StepId, WorkflowUid
from jitflow.planner._audit import audit
from jitflow.planner._claims import Claims
from jitflow.planner._fetches import Fetches
from jitflow.planner._items import Item, Items, Source
from jitflow.planner._outputs import Outputs
from jitflow.planner._room import Room
from jitflow.planner._sizes import DEFAULT_OUTPUT_BYTES, OutputSizes
from jitflow.planner._steps import Phase, Step, Steps
from jitflow.planner._views import Bytes, ItemView, Wait, view, wait_of
from jitflow.planner.commands import Command, Grant

_S = ReplicaState


class PlannerOptions(Struct, frozen=True, kw_only=True):
    """Limits. `transfers` at once; `workers`: steps that run at once (claims ahead and bypasses are multiples of it).

    `window`: objects that may be fetched ahead of their claims. `default_output_bytes`: assumed of an output of unknown size.
    """

    transfers: int = 8
    workers: int = 8
    window: int = 64
    default_output_bytes: int = DEFAULT_OUTPUT_BYTES

    @property
    def bypass(self) -> int:
        """How often the first ready step without room may be passed over."""
        return 8 * self.workers


class Planner:
    """The plan of one primary. Deterministic: equal events give equal commands."""

    def __init__(self, capacity_bytes: int, options: PlannerOptions | None = None) -> None:
        """Plan for an empty primary of `capacity_bytes`."""
        options = options or PlannerOptions()
        self.options = options
        self._items = Items(capacity_bytes)
        self._steps = Steps(self._items)
        self._room = Room(self._items)
        self._sizes = OutputSizes(options.default_output_bytes)
        self._fetches = Fetches(self._items, self._room, options.transfers, options.window)
        self._outputs = Outputs(self._items, self._room)
        self._claims = Claims(
            self._items,
            self._steps,
            self._fetches,
            self._room,
            self._sizes,
            window=max(2 * options.workers, options.transfers),
            bypass=options.bypass,
        )
        self._out: list[Command] = []

    # -- decisions ---------------------------------------------------------------------------------------------------------

    def decide(self, now: float) -> tuple[Command, ...]:
        """Return what is to be done now; calling it again without an event between returns nothing new."""
        out = self._out
        self._outputs.decide(out)
        self._room.shrink(out)
        self._claims.claim(out, self._forget)
        self._claims.grant(out)
        self._fetches.decide(now, out, self._claims.head, self.options.bypass)
        self._out = []
        return tuple(out)

    def next_wake(self) -> float | None:
        """Return when `decide` should be called though nothing happened, if ever."""
        return self._fetches.next_wake()

    # -- the future --------------------------------------------------------------------------------------------------------

    def announce(self, uid: WorkflowUid, steps: Sequence[FutureStep]) -> None:
        """Say what a workflow will read and write, in order; replaces what was announced (not what was asked) before."""
        concerned = [step for step in steps if step.inputs or step.outputs]
        keys = self._steps.place(uid, concerned)
        named = {step.id for step in concerned}
        flow = self._steps.workflow(uid)
        for old in [step for step in flow.steps.values() if step.phase is Phase.FUTURE and step.id not in named]:
            self._forget(old)
        fresh: list[Step] = []
        for spec, key in zip(concerned, keys, strict=True):
            known = self._steps.table.get(spec.id)
            if known is not None and known.phase is Phase.FUTURE and known.spec != spec:
                self._forget(known)
                known = None
            if known is None:
                fresh.append(self._enter(spec, uid, key))
            elif known.awaits and known.key != key:
                self._steps.rekey(known, key)
                fresh.append(known)
        for step in fresh:
            for item in step.inputs:
                self._fetches.foresee(item)
        self._claims.stirred = True

    def _enter(self, spec: FutureStep, uid: WorkflowUid, key: tuple[int, float]) -> Step:
        step = self._steps.add(spec, uid, key)
        for one in spec.inputs:
            if one.size_bytes is not None:
                item = self._items.of(one.ref)
                if item.source is Source.UNKNOWN and item.size is None and item.producer is None:
                    item.size = one.size_bytes
                    item.source = Source.FAR
        return step

    def ask(self, uid: WorkflowUid, spec: FutureStep) -> None:
        """A step could start now but for its data: `Grant` or `Refuse` follows. Asking again changes nothing."""
        step = self._steps.table.get(spec.id)
        if step is not None and step.phase is Phase.GRANTED:
            self._out.append(Grant(step=step.id))
            return
        if step is not None and step.phase is not Phase.FUTURE:
            return
        key = step.key if step is not None else self._steps.front_key(uid)
        if step is not None and step.spec != spec:
            self._forget(step)
            step = None
        if step is None:
            step = self._enter(spec, uid, key)
            for item in step.inputs:
                self._fetches.foresee(item)
        step.phase = Phase.ASKED
        for item in step.inputs:
            if item.source is Source.MISSING and item.state is _S.ABSENT:
                item.source = Source.UNKNOWN
        self._claims.examine(step, self._out, self._forget)

    def resume(self, uid: WorkflowUid, spec: FutureStep, reserve_bytes: int) -> None:
        """A step was granted before a restart and may still run: hold its claims until it ends. Its inputs must be resident."""
        step = self._steps.add(spec, uid, self._steps.front_key(uid))
        step.phase = Phase.GRANTED
        step.reserve = reserve_bytes
        self._items.fixed += reserve_bytes
        self._items.hold(reserve_bytes)
        for item in step.inputs:
            item.claims += 1
            self._items.drop_reader(item)
            self._items.settle(item)

    def ended(self, step_id: StepId, outputs: Sequence[tuple[ObjectRef, int]] = ()) -> None:
        """A step has ended: its claims are given back. Each output is answered by `Take` or `Bypass`."""
        step = self._steps.table.get(step_id)
        if step is not None:
            self._sizes.learn(step.spec.template, [size for _, size in outputs])
        items = [self._items.of(ref) for ref, _ in outputs]
        for item, (_, size) in zip(items, outputs, strict=True):
            self._outputs.offer(item, size)
        if step is not None:
            self._forget(step)

    def expected(self, ref: ObjectRef) -> None:
        """An output of a step that has ended will be offered (or given up) soon: steps that read it wait for that."""
        item = self._items.of(ref)
        if item.state is _S.ABSENT:
            item.uploading = True

    def offer(self, ref: ObjectRef, size_bytes: int) -> None:
        """An output is there whose step has ended before; `Take` or `Bypass` follows. One offer of an object at a time."""
        self._outputs.offer(self._items.of(ref), size_bytes)

    def refused(self, step_id: StepId) -> None:
        """A step that was asked for can never start: forget it."""
        step = self._steps.table.get(step_id)
        if step is not None:
            self._forget(step)

    def withdraw(self, uid: WorkflowUid) -> None:
        """Forget a workflow's future and give back the claims of steps that have not started."""
        flow = self._steps.workflows.get(uid)
        if flow is None:
            return
        flow.withdrawn = True
        for step in [one for one in flow.steps.values() if one.phase is not Phase.GRANTED]:
            self._forget(step)
        if not flow.steps:
            self._steps.workflows.pop(uid, None)

    def _forget(self, step: Step) -> None:
        """Remove a step in any phase, with its claims."""
        if not step.awaits:
            self._claims.unclaim(step, Phase.GONE)
        written = [self._items.table.get(output.ref) for output in step.spec.outputs]
        self._steps.remove(step)
        if self._claims.head is step:
            self._claims.head = None
        for item in step.inputs:
            self._after_release(item)
        for item in written:
            if item is not None:
                self._fetches.foresee(item)
        self._claims.stirred = True

    def _after_release(self, item: Item) -> None:
        self._fetches.unneeded(item)
        if item.stale and item.loose:
            self._room.evict(item, self._out, "its source has changed")
        elif item.uses:
            self._fetches.foresee(item)

    # -- objects far away --------------------------------------------------------------------------------------------------

    def size_known(self, ref: ObjectRef, size_bytes: int) -> None:
        """An object exists far away, with a size."""
        item = self._items.of(ref)
        self._looked(item)
        if item.dirty or item.uploading:
            # An answer from before a step wrote it: what the step wrote counts.
            return
        item.source = Source.FAR
        if item.state in {_S.ABSENT, _S.QUEUED}:
            self._resize(item, size_bytes)
        self._had(item)

    def missing(self, ref: ObjectRef, *, absent: bool = True) -> tuple[StepId, ...]:
        """An object is not there (`absent`) or could not be looked up; return the asked steps that cannot start for that.

        They stay until `refused` is called; steps for which the input is optional go on when it is `absent`.
        """
        item = self._items.table.get(ref)
        if item is None:
            return ()
        self._looked(item)
        if item.dirty or item.uploading or item.source is Source.FAR:
            # An answer from before it was there.
            self._items.settle(item)
            return ()
        item.source = Source.MISSING
        stuck: list[StepId] = []
        for step in list(item.blocked.values()):
            if absent and ref in step.optional:
                self._claims.examine(step, self._out, self._forget)
            else:
                stuck.append(step.id)
        self._items.settle(item)
        return tuple(stuck)

    def changed(self, ref: ObjectRef) -> None:
        """The far copy of a resident object is another one now: evict the replica when nobody reads it, and look again."""
        item = self._items.table.get(ref)
        if item is None or item.dirty or item.state is not _S.RESIDENT:
            return
        item.stale = True
        if item.loose:
            self._room.evict(item, self._out, "its source has changed")

    def _looked(self, item: Item) -> None:
        if item.looking:
            item.looking = False
            self._fetches.looking -= 1

    def _had(self, item: Item) -> None:
        """An item may be obtainable now: wake whoever waits for that."""
        for step in list(item.blocked.values()):
            self._claims.examine(step, self._out, self._forget)
        self._items.settle(item)
        if item.state is _S.QUEUED:
            for step in list(item.waiters.values())[:1]:
                self._fetches.want(item, step)
        else:
            self._fetches.foresee(item)

    def _resize(self, item: Item, size_bytes: int) -> None:
        """An object that is not here has this size: steps that counted with another one are looked at again."""
        if item.size == size_bytes:
            return
        self._unclaim_waiters(item)
        item.size = size_bytes
        asked = {step.id: step for _, _, step in item.readers if step.phase is Phase.ASKED}
        for step in asked.values():
            self._claims.examine(step, self._out, self._forget)

    def _unclaim_waiters(self, item: Item) -> tuple[Step, ...]:
        """Take back the claims of steps that wait for an item; they are asked steps again."""
        steps = tuple(item.waiters.values())
        for step in steps:
            self._claims.unclaim(step, Phase.ASKED)
            self._steps.list(step)
        return steps

    # -- transfers ---------------------------------------------------------------------------------------------------------

    def arrived(self, ref: ObjectRef) -> None:
        """A fetch is complete: the replica is resident."""
        item = self._items.table[ref]
        self._fetches.active -= 1
        item.cancelled = False
        self._land(item)

    def _land(self, item: Item) -> None:
        item.last_used = self._items.tick()
        self._items.move(item, "arrive")
        self._claims.arrived(item)
        for step in list(item.blocked.values()):
            self._claims.examine(step, self._out, self._forget)

    def fetch_failed(self, ref: ObjectRef, *, retry_at: float | None = None) -> tuple[StepId, ...]:
        """A fetch ended without its object, which leaves no bytes behind.

        With `retry_at` it is tried again from then on, if still wanted. Without, it is given up, and the asked steps that waited
        for it are returned; they stay, unclaimed, until `refused` is called for them.
        """
        item = self._items.table[ref]
        self._fetches.active -= 1
        item.cancelled = False
        claimed = item.claims > 0
        self._items.move(item, "fail")
        if ref not in self._items.table:
            return ()
        if claimed:
            self._items.move(item, "want")
        self._items.mark_ahead(item, False)
        if retry_at is not None:
            self._fetches.delay(item, retry_at)
            return ()
        steps = self._unclaim_waiters(item)
        asked = [step.id for step in steps]
        asked += [step.id for _, _, step in item.readers if step.phase is Phase.ASKED and step.id not in asked]
        item.source = Source.MISSING
        item.size = None
        self._items.settle(item)
        return tuple(dict.fromkeys(asked))

    def evicted(self, ref: ObjectRef) -> None:
        """A replica's bytes are free."""
        item = self._items.table[ref]
        stale = item.stale
        self._items.gone(item)
        if stale and not item.claims:
            item.source = Source.UNKNOWN
        if item.claims:
            self._items.move(item, "want")
            for step in list(item.waiters.values())[:1]:
                self._fetches.want(item, step)
        elif item.uses:
            self._fetches.foresee(item)

    # -- outputs -----------------------------------------------------------------------------------------------------------

    def taken(self, ref: ObjectRef) -> None:
        """An output is in the primary, not yet proven far away."""
        self._land(self._items.table[ref])

    def take_failed(self, ref: ObjectRef) -> None:
        """An output could not be taken in; it will be sent from where it lies."""
        item = self._items.table[ref]
        item.uploading = True
        item.dirty = False
        self._items.move(item, "fail")
        if item.claims:
            self._items.move(item, "want")

    def uploaded(self, ref: ObjectRef, size_bytes: int) -> None:
        """An output is proven at its secondary."""
        item = self._items.of(ref)
        item.source = Source.FAR
        if item.dirty:
            item.dirty = False
            self._items.settle(item)
        else:
            item.uploading = False
            if item.state is _S.RESIDENT:
                item.stale = True
            elif item.state in {_S.ABSENT, _S.QUEUED}:
                self._resize(item, size_bytes)
        if item.stale and item.loose:
            self._room.evict(item, self._out, "a step wrote it anew")
        self._had(item)

    def abandoned(self, ref: ObjectRef) -> None:
        """An output will never be proven and nobody wants it any more: let it go."""
        item = self._items.table.get(ref)
        if item is None:
            return
        item.uploading = False
        if item.dirty and item.state is _S.RESIDENT:
            item.dirty = False
            item.stale = True
        if item.source is Source.FAR:
            item.source = Source.UNKNOWN
        self._items.settle(item)
        if item.loose:
            self._room.evict(item, self._out, "it was never proven far away and its workflow has ended")

    # -- by hand -----------------------------------------------------------------------------------------------------------

    def found(self, ref: ObjectRef, size_bytes: int, *, dirty: bool = False, kept: bool = False) -> None:
        """A replica was in the primary when the service started; call in the order of last use."""
        item = self._items.of(ref)
        item.size = size_bytes
        item.source = Source.FAR
        item.dirty = dirty
        item.last_used = self._items.tick()
        self._items.move(item, "find")
        if kept:
            self._keep(item)

    def keep(self, ref: ObjectRef) -> bool:
        """Keep a resident replica until told otherwise; False if there is none or the space is promised already."""
        item = self._items.table.get(ref)
        if item is None or item.state is not _S.RESIDENT:
            return False
        if not item.kept:
            if item.loose and self._items.fixed + item.bytes > self._items.capacity:
                return False
            self._keep(item)
        return True

    def _keep(self, item: Item) -> None:
        item.kept = True
        self._items.kept += item.bytes
        self._items.settle(item)

    def unkeep(self, ref: ObjectRef) -> None:
        """Keep a replica no longer."""
        item = self._items.table.get(ref)
        if item is not None and item.kept:
            item.kept = False
            self._items.kept -= item.bytes
            self._items.settle(item)

    def evict(self, ref: ObjectRef) -> bool:
        """Evict a replica by hand; False if it is not here, or in use, kept or dirty."""
        item = self._items.table.get(ref)
        if item is None or not item.loose:
            return False
        self._room.evict(item, self._out, "asked for by hand")
        return True

    def set_capacity(self, capacity_bytes: int) -> None:
        """Plan for another capacity from now on; what is in use stays until it ends."""
        self._items.limit = capacity_bytes
        self.set_ceiling(capacity_bytes)

    def set_ceiling(self, ceiling_bytes: int) -> None:
        """Use less than the capacity for now (the disk has less); steps that need more wait and are not refused."""
        capacity = max(0, min(self._items.limit, ceiling_bytes))
        if capacity != self._items.capacity:
            self._items.capacity = capacity
            self._claims.stirred = True

    # -- views -------------------------------------------------------------------------------------------------------------

    @property
    def bytes(self) -> Bytes:
        """The ledger."""
        items = self._items
        return Bytes(
            capacity=items.capacity,
            limit=items.limit,
            used=items.used,
            fixed=items.fixed,
            loose=items.loose,
            leaving=items.leaving,
            kept=items.kept,
            peak=items.peak,
            resident=items.resident,
            pinned=items.pinned,
            dirty=items.dirty,
        )

    def item(self, ref: ObjectRef) -> ItemView | None:
        """Return what is known of an object."""
        item = self._items.table.get(ref)
        return view(self._items, item) if item is not None else None

    def items(self) -> Iterable[ItemView]:
        """Return what is known of every object."""
        return (view(self._items, item) for item in list(self._items))

    def wait(self, step_id: StepId) -> Wait | None:
        """Return what a step waits for, None for a step that is not known."""
        step = self._steps.table.get(step_id)
        return wait_of(self._items, step, self._claims.head) if step is not None else None

    def steps(self, uid: WorkflowUid) -> tuple[StepId, ...]:
        """Return a workflow's known steps in order."""
        return tuple(step.id for step in self._steps.of(uid))

    def absent(self, step_id: StepId) -> tuple[ObjectRef, ...]:
        """Return the optional inputs that a granted step has to do without."""
        step = self._steps.table.get(step_id)
        return step.absent if step is not None else ()

    def audit(self) -> tuple[str, ...]:
        """Recount everything and return what does not agree: always empty, or the planner has a defect."""
        return audit(self._items, self._steps)
