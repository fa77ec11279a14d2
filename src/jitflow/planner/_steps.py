"""Steps as the planner sees them: what was announced, what was asked for, and their one order over all workflows."""

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum, auto

from jitflow.model.data import FutureStep, ObjectRef, StepId, WorkflowUid
from jitflow.planner._accounts import Account
from jitflow.planner._items import Item, Items, Key
from jitflow.planner._order import positions
from jitflow.planner._plan import PLAIN_EAGER
from jitflow.planner._sizes import declared

HASTE = 0.5
"""Time in a workflow's plan counts by this against time of arrival: what came first is rather finished."""

_BEFORE = 1e-3
"""So far before the first ready step in the order is before it."""
_PASSES = 8
"""So many new workflows may come before a step that could start: workflows without end must not keep it waiting for ever."""


class Phase(IntEnum):
    """Where a step stands."""

    FUTURE = auto()
    ASKED = auto()
    CLAIMED = auto()
    GRANTED = auto()
    GONE = auto()


class Step:
    """One step: its objects and its place in the order."""

    __slots__ = (
        "absent", "account", "assumed",
        "blocked_at", "blocked_on", "bypassed", "declared", "footprint", "inputs", "key", "lacking", "leaves", "listed",
        "missing", "paid", "parked", "passed", "phase", "reserve", "seq", "spec", "tried", "uid",
    )  # fmt: skip

    def __init__(self, spec: FutureStep, uid: WorkflowUid, key: Key, seq: int, inputs: list[Item]) -> None:
        """Make a step that is announced."""
        self.account: Account | None = None
        """Who pays for what it needs."""
        self.parked = False
        """Whether it is ready, and waits for room in its namespace's quota."""
        self.spec = spec
        self.uid = uid
        self.key = key
        self.seq = seq
        self.inputs = inputs
        self.phase = Phase.FUTURE
        self.absent: tuple[ObjectRef, ...] = ()
        self.reserve = 0
        self.declared = declared(spec)
        self.leaves = sum(one.size_bytes or 0 for one in spec.outputs if one.transient)
        """Bytes that it leaves in the primary for others to read."""
        self.assumed = 0
        self.footprint = 0
        self.missing = 0
        """Bytes it lacked when it was tried last, in scan number `tried`."""
        self.tried = -1
        self.lacking = 0
        self.bypassed = 0
        self.paid = False
        """Whether results leave, or have left, to make room for it."""
        self.passed = 0
        """How many workflows that came later were put before it while it could start."""
        self.blocked_on: Item | None = None
        self.blocked_at = 0
        """Which of its inputs was found to be in its way last."""
        self.listed: tuple[Key, int] | None = None
        """Its entry in the list of ready steps."""

    @property
    def id(self) -> StepId:
        """Its name."""
        return self.spec.id

    @property
    def writes(self) -> int:
        """How many outputs it is known to write."""
        return len(self.spec.outputs)

    @property
    def awaits(self) -> bool:
        """Whether it will read its inputs and holds no claim on them yet."""
        return self.phase <= Phase.ASKED

    @property
    def optional(self) -> frozenset[ObjectRef]:
        """The inputs that need not exist."""
        return frozenset(one.ref for one in self.spec.inputs if one.optional)


class Workflow:
    """A workflow's steps, when it came, and how fast its steps follow each other while nothing better is known."""

    __slots__ = (
        "arrival_s", "company", "eager", "envelope", "front", "gone", "haste", "joined", "keeps", "number", "pace_s", "patience",
        "reached", "steps", "stretch", "timed", "weight", "withdrawn",
    )  # fmt: skip

    def __init__(self, number: int, arrival_s: float) -> None:
        """Know no steps."""
        self.number = number
        self.arrival_s = arrival_s
        self.gone: set[StepId] = set()
        """Steps that are over since the last announcement began."""
        self.pace_s = 1.0
        self.weight = 1.0
        self.stretch = 1.0
        """How many times as long as they take its steps seem to take, beside others."""
        self.haste = HASTE
        """Seconds in the order for each second of the plan, as its keys are now."""
        self.front = 0
        self.joined: dict[StepId, float] = {}
        """Places after the arrival of steps that come with those of others, for they read the same."""
        self.company: dict[StepId, float] = {}
        """Places after the arrival of ready steps that come earlier than in the plan, with those of others that joined."""
        self.envelope = True
        self.eager = PLAIN_EAGER
        self.keeps = True
        self.patience: int | None = None
        self.timed = False
        """Whether its plan goes by estimates of run times."""
        self.reached = (0.0, 0.0)
        """The latest planned start of its steps that have begun, and when that was."""
        self.withdrawn = False
        self.steps: dict[StepId, Step] = {}


class Steps:
    """All steps of all workflows, and the ready ones in order."""

    def __init__(self, items: Items) -> None:
        """Know no workflow."""
        self._items = items
        self.workflows: dict[WorkflowUid, Workflow] = {}
        self.table: dict[StepId, Step] = {}
        self._accounts: dict[WorkflowUid, Account] = {}
        self.ready: list[tuple[Key, int, Step]] = []
        self._arrivals = 0
        self._began: float | None = None
        self.now = 0.0

    def workflow(self, uid: WorkflowUid) -> Workflow:
        """Return a workflow, new if need be: it comes now."""
        flow = self.workflows.get(uid)
        if flow is None:
            self._arrivals += 1
            if self._began is None:
                self._began = self.now
            flow = self.workflows[uid] = Workflow(self._arrivals, self.now - self._began)
            flow.reached = (0.0, self.now)
        return flow

    def belong(self, uid: WorkflowUid, account: Account) -> None:
        """Say who pays for a workflow, before anything else of it."""
        self._accounts[uid] = account

    def account(self, uid: WorkflowUid) -> Account | None:
        """Return who pays for a workflow."""
        return self._accounts.get(uid)

    def leave(self, uid: WorkflowUid) -> None:
        """Forget who pays for a workflow that is over."""
        self._accounts.pop(uid, None)

    def place(self, uid: WorkflowUid, steps: Sequence[FutureStep], starts: Mapping[StepId, float] | None = None) -> list[Key]:
        """Return the key of each announced step, from when it would start if there were no other workflow."""
        flow = self.workflow(uid)
        haste = HASTE * flow.stretch / flow.weight
        if starts is not None:
            known = {name: flow.joined.get(name, start * haste) for name, start in starts.items()}
        else:
            scale = haste / flow.haste
            known = {name: (step.key[0] - flow.arrival_s) * scale for name, step in flow.steps.items()}
        flow.haste = haste
        places = positions(known, [step.id for step in steps], flow.pace_s * haste)
        if flow.company:
            places = [min(place, flow.company.get(step.id, place)) for step, place in zip(steps, places, strict=True)]
        return [(flow.arrival_s + place, flow.number) for place in places]

    def place_s(self, uid: WorkflowUid, start_s: float) -> float:
        """Return where in the order a step comes that would start so long after its workflow's arrival if that were alone."""
        flow = self.workflows.get(uid)
        return flow.arrival_s + start_s * flow.haste if flow is not None else self.front + start_s * HASTE

    def planned_s(self, step: Step) -> float:
        """Return when a step would start after its workflow's arrival if that were alone."""
        flow = self.workflow(step.uid)
        return (step.key[0] - flow.arrival_s) / flow.haste

    def begins(self, step: Step) -> None:
        """Note that a step begins now: how early or late its workflow is."""
        flow = self.workflow(step.uid)
        if flow.timed:
            planned = self.planned_s(step)
            if planned >= flow.reached[0]:
                flow.reached = (planned, self.now)

    def expected(self, step: Step) -> float:
        """Return when a step will start as it looks now; the beginning of time if nothing tells, or if its workflow is alone.

        Alone in the primary it loses nothing by being early, and time where it turns out to be faster than its plan.
        """
        flow = self.workflow(step.uid)
        if not flow.timed or len(self.workflows) == 1:
            return float("-inf")
        planned, at = flow.reached
        return at + self.planned_s(step) - planned

    @property
    def front(self) -> float:
        """Return about where the first workflow stands in the order if it is on time: before what a new one brings."""
        return (self.now - (self._began or 0.0)) * HASTE

    @property
    def foremost(self) -> float:
        """Return a place in the order before that of every step that could start now, unless one was passed often: see `pass_by`.

        Workflows may be late, and `front` behind their steps.
        """
        if not self.ready or any(step.passed >= _PASSES for *_, step in self.ready):
            return self.front
        return min(self.front, self.ready[0][0][0] - _BEFORE)

    def pass_by(self, place: float) -> None:
        """Note that a new workflow comes from this place on."""
        for key, _, step in self.ready:
            if key[0] > place:
                step.passed += 1

    @property
    def bounded(self) -> bool:
        """Whether what runs ahead of the order is held within the envelope: only while one workflow has the primary."""
        if len(self.workflows) != 1:
            return False
        (flow,) = self.workflows.values()
        return flow.envelope

    def front_key(self, uid: WorkflowUid) -> Key:
        """Return a key before everything that its workflow announced: for a step that is asked for without that."""
        flow = self.workflow(uid)
        flow.front += 1
        return (flow.arrival_s - 1.0 + flow.front * 1e-6, flow.number)

    def add(self, spec: FutureStep, uid: WorkflowUid, key: Key) -> Step:
        """Enter a step as announced."""
        refs = dict.fromkeys(one.ref for one in spec.inputs)
        step = Step(spec, uid, key, self._items.tick(), [self._items.of(ref) for ref in refs])
        step.account = self.account(uid)
        self.table[spec.id] = step
        flow = self.workflow(uid)
        flow.steps[spec.id] = step
        flow.gone.discard(spec.id)
        for item in step.inputs:
            self._items.add_reader(item, step)
        for output in spec.outputs:
            item = self._items.of(output.ref)
            item.producer = step
            if output.transient:
                item.transient = True
                self._items.transients[output.ref] = item
                if item.size is None:
                    item.size = output.size_bytes
        return step

    def remove(self, step: Step) -> None:
        """Forget a step; its claims must have been given back."""
        self.unlist(step)
        awaited = step.awaits
        step.phase = Phase.GONE
        self.table.pop(step.id, None)
        flow = self.workflows.get(step.uid)
        if flow is not None:
            flow.steps.pop(step.id, None)
            flow.gone.add(step.id)
            if flow.withdrawn and not flow.steps:
                del self.workflows[step.uid]
        for item in step.inputs:
            if awaited:
                self._items.drop_reader(item)
            self._items.settle(item)
        for output in step.spec.outputs:
            item = self._items.table.get(output.ref)
            if item is not None and item.producer is step:
                item.producer = None
                self._items.settle(item)

    def rekey(self, step: Step, key: Key) -> None:
        """Give a step another place in the order."""
        if step.key == key:
            return
        was_listed = step.listed is not None
        if was_listed:
            self.unlist(step)
        step.key = key
        if step.awaits:
            for item in step.inputs:
                self._items.rekey_reader(item, step)
        if was_listed:
            self.list(step)
        if step.parked:
            self.park(step)

    def list(self, step: Step) -> None:
        """Enter a step into the list of ready ones: all its inputs can be had."""
        if step.listed is None:
            step.listed = (step.key, step.seq)
            insort(self.ready, (step.key, step.seq, step))

    def park(self, step: Step) -> None:
        """Let a ready step wait for room in its namespace's quota."""
        self.unlist(step)
        if step.account is not None:
            step.parked = True
            heapq.heappush(step.account.parked, (step.key, step.seq, step))

    def unlist(self, step: Step) -> None:
        """Take a step off the list of ready ones, or off what it waits for."""
        step.parked = False
        if step.listed is not None:
            place = bisect_left(self.ready, step.listed, key=lambda entry: entry[:2])
            del self.ready[place]
            step.listed = None
        if step.blocked_on is not None:
            step.blocked_on.blocked.pop(step.id, None)
            step.blocked_on = None

    def of(self, uid: WorkflowUid) -> Iterator[Step]:
        """Iterate over a workflow's steps in order."""
        flow = self.workflows.get(uid)
        return iter(sorted(flow.steps.values(), key=lambda step: step.key) if flow else ())
