"""What to fetch, keep, evict and start: over all workflows and the whole primary. Pure and incremental.

Events go in through methods, decisions come out of `decide(now)` as commands; each command is answered by an event. The cost
of an event is logarithmic in the number of steps and objects (plus the objects of the steps it touches).
"""

from collections.abc import Iterable, Iterator, Sequence

from jitflow.model.data import FutureStep, ObjectRef, ReplicaState, StepId, WorkflowUid
from jitflow.planner._accounts import AccountView
from jitflow.planner._audit import audit
from jitflow.planner._items import Key, Source
from jitflow.planner._objects import ObjectEvents, PlannerOptions
from jitflow.planner._order import depth_first
from jitflow.planner._plan import Plan
from jitflow.planner._sharing import gathered, joined
from jitflow.planner._steps import Phase, Step
from jitflow.planner._views import Bytes, ItemView, Wait, view, wait_of
from jitflow.planner.commands import Command, Grant

_S = ReplicaState
_PIECE = 400
"""Reads that are announced at once: a few milliseconds of work."""


class Planner(ObjectEvents):
    """The plan of one primary. Deterministic: equal events give equal commands."""

    # -- decisions ---------------------------------------------------------------------------------------------------------

    def decide(self, now: float) -> tuple[Command, ...]:
        """Return what is to be done now; calling it again without an event between returns nothing new."""
        out = self._out
        self._steps.now = now
        self._outputs.decide(out)
        self._room.shrink(out)
        self._claims.claim(out, self._forget)
        self._shed(out)
        self._claims.grant(out)
        self._fetches.decide(now, out, self._claims.head, guarded=self._claims.guarded)
        self._items.drowse()
        self._out = []
        return tuple(out)

    def _shed(self, out: list[Command]) -> None:
        """Let idle replicas of namespaces go that pay for more than their quotas allow."""
        grown, self._items.accounts.grown = self._items.accounts.grown, {}
        for account in grown:
            if any(account.short(0, 0, idle=True)):
                self._room.shed(account, 0, 0, out, f"the quota of {account.name} is needed for what it holds")

    def next_wake(self) -> float | None:
        """Return when `decide` should be called though nothing happened, if ever."""
        times = [at for at in (self._fetches.next_wake(), self._claims.wake_at) if at is not None]
        return min(times, default=None)

    # -- the future --------------------------------------------------------------------------------------------------------

    def announce(self, uid: WorkflowUid, steps: Sequence[FutureStep], plan: Plan | None = None, *, weight: float = 1.0) -> None:
        """Say what a workflow will read and write; replaces what was announced (not what was asked) before.

        Without a plan the steps come in the order of the list, one branch after another. Beside others a workflow of twice the
        `weight` advances as if its steps took half the time: it waits less for them, and they more for it.
        """
        for _ in self.announcing(uid, steps, plan, weight=weight):
            pass

    def announcing(
        self, uid: WorkflowUid, steps: Sequence[FutureStep], plan: Plan | None = None, *, weight: float = 1.0
    ) -> Iterator[None]:
        """Announce in pieces, each of about as much work: other events and decisions may come between them.

        Of a workflow's announcements only one may be under way; one that is given up leaves a mixture of two orders, no more.
        """
        flow = self._steps.workflow(uid)
        flow.weight = weight
        flow.gone = set()
        pieces = _Pieces()
        concerned = [step for step in _ordered(steps, plan) if step.inputs or step.outputs]
        yield from pieces.after(len(concerned))
        concerned, keys = self._placed(uid, concerned, plan)
        named = {step.id for step in concerned}
        yield from pieces.after(len(concerned))
        for old in [step for step in flow.steps.values() if step.id not in named]:
            yield from pieces.after(len(old.inputs))
            if old.phase is Phase.FUTURE:
                self._forget(old)
        fresh: list[Step] = []
        for spec, key in zip(concerned, keys, strict=True):
            step = self._announced(uid, spec, key) if spec.id not in flow.gone else None
            if step is not None:
                fresh.append(step)
            yield from pieces.after(len(spec.inputs) if step is not None else 0)
        for step in fresh:
            for item in step.inputs if step.awaits else ():
                self._fetches.foresee(item)
            yield from pieces.after(len(step.inputs))
        self._claims.replanned()

    def _placed(self, uid: WorkflowUid, steps: list[FutureStep], plan: Plan | None) -> tuple[list[FutureStep], list[Key]]:
        """Return the steps of a workflow in their order, with their keys."""
        flow = self._steps.workflow(uid)
        if plan is not None:
            flow.envelope, flow.eager, flow.patience, flow.pace_s = plan.envelope, plan.eager, plan.patience, plan.pace_s
            flow.keeps = plan.keeps
            flow.timed, flow.stretch = plan.makespan_s is not None, plan.stretch
        keys = self._steps.place(uid, steps, plan.starts if plan is not None else None)
        if len(self._steps.workflows) == 1 or flow.steps:
            return steps, keys
        joins = joined(self._items, steps, [key[0] for key in keys], front=self._steps.foremost)
        if not joins:
            return steps, keys
        flow.joined = {name: at - flow.arrival_s for name, at in joins.items()}
        self._steps.pass_by(min(joins.values()))
        for step, at in gathered(self._items, steps).items():
            other = self._steps.workflow(step.uid)
            other.company[step.id] = at - other.arrival_s
            self._steps.rekey(step, (at, other.number))
        return sorted(steps, key=lambda step: joins[step.id]), [(at, flow.number) for at in sorted(joins.values())]

    def _announced(self, uid: WorkflowUid, spec: FutureStep, key: Key) -> Step | None:
        """Enter a step or give it its new place; return it if its place is new."""
        known = self._steps.table.get(spec.id)
        if known is None:
            return self._enter(spec, uid, key)
        if known.phase is Phase.FUTURE and _data(known.spec) != _data(spec):
            return self._replace(known, spec, key)
        if known.awaits and known.key != key:
            self._steps.rekey(known, key)
            return known
        return None

    def _replace(self, known: Step, spec: FutureStep, key: Key) -> Step:
        """Enter a step anew, for other objects are known of it now; what both read stays needed all the while."""
        for item in known.inputs:
            item.uses += 1
        self._forget(known)
        step = self._enter(spec, known.uid, key)
        for item in known.inputs:
            self._items.drop_reader(item)
            self._items.settle(item)
            self._after_release(item)
        return step

    def _enter(self, spec: FutureStep, uid: WorkflowUid, key: Key) -> Step:
        step = self._steps.add(spec, uid, key)
        self._sizes.foresee(spec)
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
        if step is None or not _same_objects(step.spec, spec):
            step = self._replace(step, spec, step.key) if step else self._enter(spec, uid, self._steps.front_key(uid))
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
        self._claims.resume(step)

    def ended(self, step_id: StepId, outputs: Sequence[tuple[ObjectRef, int]] = ()) -> None:
        """A step has ended: its claims are given back. Each output is answered by `Take` or `Bypass`."""
        step = self._steps.table.get(step_id)
        account = step.account if step is not None else None
        if step is not None:
            self._sizes.learn(step.spec.template, [size for _, size in outputs])
        items = [self._items.of(ref) for ref, _ in outputs]
        for item, (_, size) in zip(items, outputs, strict=True):
            self._outputs.offer(item, size, account)
        if step is not None:
            self._forget(step)

    def expected(self, ref: ObjectRef) -> None:
        """An output of a step that has ended will be offered (or given up) soon: steps that read it wait for that."""
        item = self._items.of(ref)
        if item.state is _S.ABSENT:
            item.uploading = True

    def offer(self, ref: ObjectRef, size_bytes: int, uid: WorkflowUid = "") -> None:
        """An output is there whose step has ended before; `Take` or `Bypass` follows. One offer of an object at a time.

        `uid`: of the workflow of its step, empty for none.
        """
        self._outputs.offer(self._items.of(ref), size_bytes, self._steps.account(uid))

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

    # -- by hand -----------------------------------------------------------------------------------------------------------

    def found(
        self, ref: ObjectRef, size_bytes: int, *, dirty: bool = False, keepers: Iterable[str] = (), uid: WorkflowUid = ""
    ) -> None:
        """A replica was in the primary when the service started; call in the order of last use.

        `keepers`: see `keep`. `uid`: of the workflow whose output a dirty one is.
        """
        keepers = tuple(keepers)
        if not (dirty or keepers or self._items.look(ref)):
            self._items.rest([(str(ref), size_bytes)])
            return
        item = self._items.of(ref)
        item.size = size_bytes
        item.source = Source.FAR
        item.dirty = dirty
        item.last_used = self._items.tick()
        self._items.move(item, "find")
        if dirty:
            item.writer = self._steps.account(uid)
            self._items.accounts.hold(item, item.writer)
        for keeper in keepers:
            self._items.keep(item, keeper)

    def found_asleep(self, found: Sequence[tuple[str, int]]) -> None:
        """Many replicas were in the primary when the service started, `remote:path` and size each, in the order of last use."""
        known = self._items.table
        if known:
            found = [(name, size) for name, size in found if not self._known(name, size)]
        self._items.rest(found)

    def _known(self, name: str, size_bytes: int) -> bool:
        remote, _, path = name.partition(":")
        ref = ObjectRef(remote=remote, path=path)
        known = ref in self._items.table
        if known:
            self.found(ref, size_bytes)
        return known

    def keep(self, ref: ObjectRef, keeper: str = "") -> str:
        """Keep a resident replica until told otherwise; return why that cannot be done, empty if it is.

        `keeper`: the namespace for which it is kept, and that pays for it; empty: whoever keeps the whole in order.
        """
        item = self._items.table.get(ref)
        if item is None or item.state is not _S.RESIDENT:
            return "it is not in the primary"
        if keeper in item.keepers:
            return ""
        full = self._items.fixed + item.bytes > self._items.capacity or self._items.short_of_objects(1) > 0
        if item.loose and full:
            return "its space is promised to steps that are about to start"
        account = self._items.accounts.of(keeper) if keeper else None
        if account is not None and account not in (item.holders or {}):
            share = -(-item.bytes // (len(item.holders or {}) + 1))
            if any(account.short(share, 1, idle=False)):
                return f"the quota of namespace {keeper} has no room for it"
        self._items.keep(item, keeper)
        return ""

    def unkeep(self, ref: ObjectRef, keeper: str = "") -> None:
        """Keep a replica no longer for a keeper; others may still keep it."""
        item = self._items.table.get(ref)
        if item is not None and keeper in item.keepers:
            self._items.unkeep(item, keeper)

    def evict(self, ref: ObjectRef) -> bool:
        """Evict a replica by hand; False if it is not here, or in use, kept or dirty."""
        item = self._items.table.get(ref)
        if item is None or not item.loose:
            return False
        self._room.evict(item, self._out, "asked for by hand")
        return True

    def belong(self, uid: WorkflowUid, namespace: str) -> None:
        """Say whose a workflow is, before anything else of it: its namespace pays for what it needs."""
        self._steps.belong(uid, self._items.accounts.of(namespace))

    def leave(self, uid: WorkflowUid) -> None:
        """A workflow is over, and nothing more will be said of it."""
        self._steps.leave(uid)

    def set_quota(self, namespace: str, quota_bytes: int | None, max_objects: int = 0) -> None:
        """Let a namespace hold no more than this; None and 0 for any amount. What it holds already stays until it lets go."""
        self._items.accounts.limit(namespace, quota_bytes, max_objects, self._items.table.values())

    def shut(self, namespace: str, shut: bool) -> None:
        """Fetch nothing more for a namespace, but for steps that are claimed already, or go on."""
        account = self._items.accounts.of(namespace)
        if account.shut != shut:
            self._claims.shut(account, shut)

    def quota(self, uid: WorkflowUid) -> tuple[int | None, int]:
        """Return what a workflow's namespace may hold, in bytes (None: any amount) and objects (0: any number)."""
        account = self._steps.account(uid)
        return (account.quota, account.max_objects) if account is not None else (None, 0)

    def accounts(self) -> tuple[AccountView, ...]:
        """Return what each namespace pays for, by name."""
        return self._items.accounts.views(list(self._items.kept_items.values()))

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

    def set_link(
        self,
        remote: str,
        *,
        transfers: int | None = None,
        part_bytes: int | None = None,
        rate_Bps: float | None = None,
        stream_Bps: float | None = None,
        latency_s: float | None = None,
        fill_streams: int | None = None,
        fill_bytes: int | None = None,
        part_streams: int | None = None,
        alone_part_bytes: int | None = None,
    ) -> None:
        """Say what the link to a far store can do; None leaves what was said before (at first: the options).

        Args:
            remote: the name of the far store.
            transfers: streams at once over this link; each range of an object is one.
            part_bytes: objects are moved in ranges of at least this size at once, 0 for in one piece.
            rate_Bps: what all streams together give.
            stream_Bps: what one stream gives. With both rates known no more is begun than fills the link.
            latency_s: how long a transfer takes before its first byte.
            fill_streams: no more is begun while so many streams run and `fill_bytes` are still to come.
            fill_bytes: see there.
            part_streams: ranges of one object at once; with it `fill_streams` is not computed from the rates.
            alone_part_bytes: ranges of an object may be so small while nothing else is on its way that matters as much.
        """
        said = {
            "transfers": transfers, "part_bytes": part_bytes, "rate_Bps": rate_Bps, "stream_Bps": stream_Bps,
            "latency_s": latency_s, "fill_streams": fill_streams, "fill_bytes": fill_bytes, "part_streams": part_streams,
            "alone_part_bytes": alone_part_bytes,
        }  # fmt: skip
        self._fetches.lanes.set(remote, {name: value for name, value in said.items() if value is not None})

    # -- views -------------------------------------------------------------------------------------------------------------

    @property
    def shortages(self) -> int:
        """How often a ready step found no room, or would have crowded out what comes before it."""
        return self._claims.shortages

    @property
    def lacking(self) -> int:
        """How many bytes the first ready step without room lacks."""
        head = self._claims.head
        if head is None or head.listed is None:
            return 0
        return max(0, self._items.fixed + head.missing - self._items.capacity)

    def is_busy(self, uid: WorkflowUid) -> bool:
        """Return whether a workflow has steps that have not ended."""
        flow = self._steps.workflows.get(uid)
        return flow is not None and bool(flow.steps)

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
            objects=items.used_objects,
            max_objects=items.max_objects,
        )

    def item(self, ref: ObjectRef) -> ItemView | None:
        """Return what is known of an object."""
        item = self._items.look(ref)
        return view(self._items, item) if item is not None else None

    def items(self) -> Iterable[ItemView]:
        """Return what is known of every object."""
        return (view(self._items, item) for item in self._items)

    def coming_refs(self) -> Iterator[ObjectRef]:
        """Return the objects that are under way or queued."""
        coming = (_S.QUEUED, _S.TRANSFERRING)
        return (item.ref for item in self._items.table.values() if item.state in coming)

    def kept(self) -> Iterator[ItemView]:
        """Return what is kept until somebody says otherwise."""
        return (view(self._items, item) for item in self._items.kept_items.values())

    def queued(self) -> tuple[ObjectRef, ...]:
        """Return the objects that claimed steps wait for and that are not under way yet, in the order in which they will be."""
        return self._fetches.queued()

    def wait(self, step_id: StepId) -> Wait | None:
        """Return what a step waits for, None for a step that is not known."""
        step = self._steps.table.get(step_id)
        return wait_of(self._items, step, self._claims.head) if step is not None else None

    def place_s(self, uid: WorkflowUid, start_s: float) -> float:
        """Return where among the steps of all workflows one comes that its plan lets start so long after its workflow came."""
        return self._steps.place_s(uid, start_s)

    def knows(self, step_id: StepId) -> bool:
        """Return whether a step was announced or has asked, and has not ended."""
        return step_id in self._steps.table

    def reserved(self, step_id: StepId) -> int:
        """Return the bytes that are held for what a step will write."""
        step = self._steps.table.get(step_id)
        return step.reserve if step is not None else 0

    def steps(self, uid: WorkflowUid) -> tuple[StepId, ...]:
        """Return a workflow's known steps in order."""
        return tuple(step.id for step in self._steps.of(uid))

    def absent(self, step_id: StepId) -> tuple[ObjectRef, ...]:
        """Return the optional inputs that a granted step has to do without."""
        step = self._steps.table.get(step_id)
        return step.absent if step is not None else ()

    def audit(self) -> tuple[str, ...]:
        """Recount everything and return what does not agree: always empty, or the planner has a defect."""
        return audit(self._items, self._steps, self._claims.running)


class _Pieces:
    """Counts work into pieces of about the same size."""

    def __init__(self) -> None:
        self._left = _PIECE

    def after(self, reads: int) -> Iterator[None]:
        """Count a step with so many reads; yield where the piece is full."""
        self._left -= 1 + reads
        if self._left <= 0:
            self._left = _PIECE
            yield


def _data(step: FutureStep) -> tuple[object, ...]:
    """Return what is announced of a step's objects and is of account here."""
    return step.inputs, [(one.ref, one.size_bytes, one.transient) for one in step.outputs]


def _same_objects(announced: FutureStep, asked: FutureStep) -> bool:
    """Return whether a step asks for what was announced of it; the announcement says more of it, so it stands."""
    return [(one.ref, one.optional) for one in announced.inputs] == [(one.ref, one.optional) for one in asked.inputs] and [
        (one.ref, one.size_bytes) for one in announced.outputs
    ] == [(one.ref, one.size_bytes) for one in asked.outputs]


def _ordered(steps: Sequence[FutureStep], plan: Plan | None) -> Sequence[FutureStep]:
    """Return the steps as a plan has them; one that it does not know follows what it waits for, or else what it follows here."""
    if plan is None:
        return depth_first(steps)
    starts: dict[StepId, float] = {}
    barriers: dict[int, float] = {}
    last = -1.0
    for step in steps:
        start = plan.starts.get(step.id)
        if start is None and step.after:
            # Steps behind one barrier share a tuple, which is looked at once.
            start = barriers.get(id(step.after))
            if start is None:
                start = barriers[id(step.after)] = max((starts[name] for name in step.after if name in starts), default=last)
        last = starts[step.id] = last if start is None else start
    return sorted(steps, key=lambda step: starts[step.id])


__all__ = ["Planner", "PlannerOptions"]
