"""The order in which workflows are gone through: announced plainly at once, by a chosen plan as soon as there is one.

A plan is chosen beside the run, from what is known of run times, sizes, links and room at that time, and again when much more is
known. Without one the run goes on in the plain order. A workflow for which room is short waits for its first plan if that can be
there soon: what is begun in another order holds room that cannot be taken back.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from msgspec.structs import replace

from jitflow.dataplane.choosing import MOST_BESIDE, ChoiceFailed, Question
from jitflow.dataplane.core import Core, workflow_of
from jitflow.dataplane.keptplans import Basis, KeptPlan, KeptPlans
from jitflow.dataplane.worlds import Worlds
from jitflow.model.data import FutureStep, StepId, WorkflowUid
from jitflow.model.reports import PlanNote
from jitflow.planner import Beside, Plan
from jitflow.ports.dataplane import Quota
from jitflow.ports.store import StateStore

log = logging.getLogger("jitflow.dataplane")

_SOON_S = 0.1
"""A plan is not chosen for what is over at once."""
_LOOK_EVERY_S, _LOOK_AFTER_S = 2.0, 30.0
_PAUSE_PER_COST = 50
"""Looking whether more is known takes at most one part in so many of the time."""
_PAUSE_PER_CHOICE = 2
"""Choosing again and again takes at most one part in three."""
_FEWEST_STEPS = 3
_PIECE = 250
"""Steps that are looked at before others have their turn."""
_MUCH = 1.5
"""A sum that has changed by such a factor is another one."""
_MANY = 0.05
"""So many new steps, as a share of all, are another workflow."""
_MOST_POINTS = 6
_AWAITED_SHARE, _AWAITED_S = 0.02, 2.0
"""A first plan is waited for through so much of the time that the workflow computes, and no longer than this."""
_EARLY_S, _EARLY_S_PER_STEP = 0.6, 0.002
"""What it takes until there is a first plan: a process starts, and a few orders are tried."""
_DONE = object()


class Chooser(Protocol):
    """Chooses plans elsewhere, so that nothing here waits."""

    async def choose(self, question: Question, early: Callable[[Plan], object] = lambda _: None) -> Plan:
        """Return a plan; `early` may get one that is worth following until then.

        Raises:
            ChoiceFailed: there is none.
        """
        ...


class NoChooser:
    """Chooses nothing: workflows are gone through in the plain order."""

    async def choose(self, question: Question, early: Callable[[Plan], object] = lambda _: None) -> Plan:
        """Raise."""
        raise ChoiceFailed("plans are not chosen here")


@dataclass(kw_only=True)
class _Flow:
    """A workflow that is gone through."""

    uid: WorkflowUid
    steps: Sequence[FutureStep]
    weight: float
    ended: set[StepId] = field(default_factory=set)
    asked: Basis | None = None
    """From what a plan was asked for last, and, beside the plan that there is, from what that was chosen."""
    plan: Plan | None = None
    basis: Basis | None = None
    chosen_at: float = 0.0
    pieces: Iterator[None] | None = None
    asking: dict[StepId, Callable[[], None]] | None = None
    """What steps have asked for that wait for the first plan; None: nothing waits for it."""
    stirred: asyncio.Event = field(default_factory=asyncio.Event)


class Planning:
    """Announces workflows to the planner, plainly and then by their plans."""

    def __init__(self, core: Core, chooser: Chooser, worlds: Worlds, quota: Callable[[WorkflowUid], Quota]) -> None:
        """Ask `chooser` for plans in these worlds; `quota`: of a workflow's namespace."""
        self._quota = quota
        self._core = core
        self._worlds = worlds
        self._chooser = chooser
        self._flows: dict[WorkflowUid, _Flow] = {}
        self._kept = KeptPlans(core)

    async def load(self, store: StateStore) -> None:
        """Read the plans that workflows followed before a restart: they go on with them."""
        await self._kept.load(store)

    # -- what the engine says ----------------------------------------------------------------------------------------------

    def announce(self, uid: WorkflowUid, steps: Sequence[FutureStep], weight: float) -> None:
        """Announce a workflow now, in the order of its plan if it has one, and see to it that it gets one."""
        flow = self._flows.get(uid)
        if flow is None:
            flow = self._flows[uid] = _Flow(uid=uid, steps=steps, weight=weight)
            self._go_on_with(flow, self._kept.take(uid))
            self._await_plan(flow)
            self._core.owner.start(self._watch(flow), f"plan {uid}")
        flow.steps, flow.weight = steps, weight
        flow.ended.clear()
        flow.stirred.set()
        if flow.asking is None:
            self._tell(flow)

    def ask(self, uid: WorkflowUid, step: StepId, ask: Callable[[], None]) -> bool:
        """Let a step ask now, or when its workflow begins; return whether that is now."""
        flow = self._flows.get(uid)
        if flow is not None and flow.asking is not None:
            flow.asking[step] = ask
            return False
        ask()
        return True

    def awaits(self, step: StepId) -> bool:
        """Return whether a step has asked and its workflow's first plan is waited for."""
        flow = self._flows.get(workflow_of(step))
        return flow is not None and flow.asking is not None and step in flow.asking

    def _await_plan(self, flow: _Flow) -> None:
        """Let a workflow wait for its first plan if order matters to it and a plan can be there soon."""
        if flow.plan is not None or isinstance(self._chooser, NoChooser):
            return
        workers = max(1, self._core.planner.options.workers)
        computes_s = sum(step.run_s or 0.0 for step in flow.steps) / workers
        most_s = min(_AWAITED_S, _AWAITED_SHARE * computes_s)
        if most_s >= _EARLY_S + _EARLY_S_PER_STEP * len(flow.steps) and self._worlds.is_short(flow.steps, self._quota(flow.uid)):
            flow.asking = {}
            self._core.owner.start(self._begin_after(flow, most_s), f"begin {flow.uid}")

    async def _begin_after(self, flow: _Flow, most_s: float) -> None:
        await self._core.clock.sleep(most_s)
        self._begin(flow)

    def _begin(self, flow: _Flow) -> None:
        """Wait for a first plan no longer."""
        if flow.asking is None:
            return
        asking, flow.asking = flow.asking, None
        if self._flows.get(flow.uid) is flow:
            self._tell(flow)
            starts = flow.plan.starts if flow.plan is not None else {}
            for step in sorted(asking, key=lambda step: starts.get(step, 0.0)):
                asking[step]()

    def _go_on_with(self, flow: _Flow, kept: KeptPlan | None) -> None:
        """Follow the plan of an earlier life, until much more is known than it was chosen from."""
        if kept is None:
            return
        if isinstance(self._chooser, NoChooser):
            self._kept.drop(flow.uid)
            return
        flow.plan, flow.asked, flow.basis, flow.chosen_at = kept.plan, kept.basis, kept.basis, kept.chosen_at

    def ended(self, uid: WorkflowUid, step: StepId) -> None:
        """A step needs no plan any more."""
        flow = self._flows.get(uid)
        if flow is not None:
            flow.ended.add(step)
            if flow.asking is not None:
                flow.asking.pop(step, None)

    def withdraw(self, uid: WorkflowUid) -> None:
        """The workflow has ended."""
        flow = self._flows.pop(uid, None)
        if flow is not None:
            if flow.plan is not None:
                self._kept.drop(uid)
            flow.pieces = None
            flow.stirred.set()

    def note(self, uid: WorkflowUid) -> PlanNote | None:
        """Return what is to be told of a workflow's plan, None while it has none."""
        flow = self._flows.get(uid)
        if flow is None or flow.plan is None or flow.basis is None:
            return None
        return _note(uid, KeptPlan(plan=flow.plan, basis=flow.basis, chosen_at=flow.chosen_at))

    def plan(self, uid: WorkflowUid) -> Plan | None:
        """Return a workflow's plan, None while it has none."""
        flow = self._flows.get(uid)
        return flow.plan if flow is not None else None

    def place(self, step: StepId) -> str:
        """Return in words where a step comes in its workflow's order, empty if it is not to come."""
        uid = workflow_of(step)
        flow = self._flows.get(uid)
        order = self._core.planner.steps(uid) if flow is not None else ()
        if flow is None or step not in order:
            return ""
        by = f"by plan {flow.plan.reason}" if flow.plan is not None else "in the plain order, for no plan was chosen yet"
        return f"place {order.index(step) + 1:,} of {len(order):,} steps with data, {by}"

    # -- announcing --------------------------------------------------------------------------------------------------------

    def _tell(self, flow: _Flow) -> None:
        """Announce; what takes long goes on in pieces between which others have their turn."""
        # Steps that have ended since they were listed must not come back.
        steps = [step for step in flow.steps if step.id not in flow.ended] if flow.ended else flow.steps
        pieces = self._core.planner.announcing(flow.uid, steps, flow.plan, weight=flow.weight)
        flow.pieces = pieces
        if next(pieces, _DONE) is not _DONE:
            self._core.owner.start(self._go_on(flow, pieces), f"announce {flow.uid}")
        self._core.pump()

    async def _go_on(self, flow: _Flow, pieces: Iterator[None]) -> None:
        while flow.pieces is pieces:
            await asyncio.sleep(0)
            if flow.pieces is not pieces:
                return  # announced anew meanwhile, or withdrawn
            done = next(pieces, _DONE) is _DONE
            self._core.pump()
            if done:
                return

    # -- choosing ----------------------------------------------------------------------------------------------------------

    async def _watch(self, flow: _Flow) -> None:
        """Choose a plan, and another one whenever much more is known, until the workflow ends."""
        core = self._core
        if isinstance(self._chooser, NoChooser):
            return
        if flow.asking is None:
            await core.clock.sleep(_SOON_S)
        while self._flows.get(flow.uid) is flow:
            flow.stirred.clear()
            began = core.clock.now()
            left = await self._left(flow)
            basis = self._worlds.basis(left, self._quota(flow.uid))
            cost_s, choice_s = core.clock.now() - began, 0.0
            if self._wants_plan(flow, left, basis):
                await self._choose(flow, left, basis)
                choice_s = core.clock.now() - began - cost_s
            self._begin(flow)
            pause_s = min(_LOOK_AFTER_S, max(_LOOK_EVERY_S, _PAUSE_PER_COST * cost_s))
            await self._pause(flow, max(pause_s, _PAUSE_PER_CHOICE * choice_s))

    def _wants_plan(self, flow: _Flow, left: Sequence[FutureStep], basis: Basis) -> bool:
        """Return whether choosing a plan now may do any good."""
        if len(left) < _FEWEST_STEPS or not self._worlds.matters(left, basis):
            return False
        return flow.asked is None or _differs(flow.asked, basis)

    async def _pause(self, flow: _Flow, most_s: float) -> None:
        """Wait; less if the workflow is announced anew or ends, but long enough not to be busy with nothing else."""
        await self._core.clock.sleep(min(most_s, _LOOK_EVERY_S) / 2)
        until = self._core.clock.now() + most_s
        while not flow.stirred.is_set() and self._core.clock.now() < until:
            await self._core.clock.sleep(_LOOK_EVERY_S / 2)

    async def _choose(self, flow: _Flow, left: Sequence[FutureStep], basis: Basis) -> None:
        flow.asked = basis
        try:
            beside = await self._beside(flow, basis)
            setting = await self._worlds.setting([*left, *(step for one in beside for step in one.steps)], basis)
            current = _from_now(flow.plan, basis.steps) if flow.plan is not None else None
            question = Question(
                steps=left, setting=setting, blind=basis.blind, current=current, beside=beside, weight=flow.weight
            )
            before = flow.plan
            follow = partial(self._follow, flow, basis, before)
            follow(await self._chooser.choose(question, follow))
        except ChoiceFailed as error:
            log.warning("workflow %s goes on in the plain order: %s", flow.uid, error)

    def _follow(self, flow: _Flow, basis: Basis, before: Plan | None, plan: Plan) -> None:
        """Go on by a plan that was chosen from this basis, instead of the one before."""
        if self._flows.get(flow.uid) is not flow:
            return
        now = self._core.clock.now()
        flow.basis, flow.plan, flow.chosen_at = basis, _later(plan, before, basis.steps), now
        self._kept.keep(flow.uid, KeptPlan(plan=flow.plan, basis=basis, chosen_at=now))
        rates = ", ".join(f"{remote} {rate / 1e6:.2f} MB/s" for remote, rate in sorted(basis.rates.items()))
        alone = f"{plan.makespan_s:.1f} s if alone, " if plan.makespan_s is not None else ""
        log.info(
            "plan of %s: %s (%s%d steps to come; links: %s)", flow.uid, plan.reason, alone, len(basis.steps), rates or "not known"
        )
        if flow.asking is not None:
            self._begin(flow)
        else:
            self._tell(flow)

    async def _beside(self, flow: _Flow, basis: Basis) -> list[Beside]:
        """Return what is left of the other workflows that share the room with one; nothing if that is too much to try plans with.

        One that has a quota keeps to its own room, and others leave it alone.
        """
        others = [one for one in self._flows.values() if one is not flow and len(one.steps) > len(one.ended)]
        if basis.blind or sum(len(one.steps) - len(one.ended) for one in others) > MOST_BESIDE:
            return []
        if any(self._quota(one.uid).bytes is not None for one in (flow, *others)):
            return []
        place_s = self._core.planner.place_s
        now_s = place_s(flow.uid, _begins(flow.plan, basis.steps))
        return [
            Beside(
                uid=one.uid,
                steps=await self._left(one),
                plan=one.plan,
                came_s=now_s - place_s(one.uid, 0.0),
                weight=one.weight,
            )
            for one in others
        ]

    async def foresee(self, uid: WorkflowUid, steps: Sequence[FutureStep], quota: Quota) -> tuple[Plan | None, PlanNote | None]:
        """Return the plan that would be chosen for a workflow if it began now, alone; None for the plain order."""
        basis = self._worlds.basis(steps, quota)
        if len(steps) < _FEWEST_STEPS or not self._worlds.matters(steps, basis) or isinstance(self._chooser, NoChooser):
            return None, None
        setting = await self._worlds.setting(steps, basis)
        try:
            plan = await self._chooser.choose(Question(steps=steps, setting=setting, blind=basis.blind))
        except ChoiceFailed as error:
            log.warning("no plan was foreseen: %s", error)
            return None, None
        return plan, _note(uid, KeptPlan(plan=plan, basis=basis, chosen_at=self._core.clock.now()))

    async def _left(self, flow: _Flow) -> list[FutureStep]:
        """Return the steps that have not ended, with the sizes that are known of their objects."""
        steps = flow.steps
        written = {one.ref for step in steps if step.id not in flow.ended for one in step.outputs}
        left: list[FutureStep] = []
        for place, step in enumerate(steps):
            if step.id not in flow.ended:
                left.append(self._worlds.sized(step, written))
            if not place % _PIECE:
                await asyncio.sleep(0)
        return left


def _note(uid: WorkflowUid, kept: KeptPlan) -> PlanNote:
    return PlanNote(
        uid=uid,
        name=kept.plan.name,
        reason=kept.plan.reason,
        makespan_s=kept.plan.makespan_s,
        steps=len(kept.basis.steps),
        timed=len(kept.basis.run_s),
        chosen_at=kept.chosen_at,
    )


def weight_of(priority: int) -> float:
    """Return the share that a workflow of a priority has beside others: twice as much for each point, within bounds."""
    return 2.0 ** max(-_MOST_POINTS, min(_MOST_POINTS, priority))


def _begins(plan: Plan | None, steps: frozenset[StepId]) -> float:
    """Return when the rest of a workflow begins in its plan."""
    return min((start for step, start in plan.starts.items() if step in steps), default=0.0) if plan is not None else 0.0


def _from_now(plan: Plan, steps: frozenset[StepId]) -> Plan:
    """Return what is left of a plan, begun now."""
    begun = _begins(plan, steps)
    return replace(plan, starts={step: start - begun for step, start in plan.starts.items() if step in steps})


def _later(plan: Plan, before: Plan | None, steps: frozenset[StepId]) -> Plan:
    """Return a plan for the rest of a workflow, to begin where the one before it stands: others are not overtaken by it."""
    begun = _begins(before, steps)
    return replace(plan, starts={step: begun + start for step, start in plan.starts.items()}) if begun else plan


def _differs(before: Basis, now: Basis) -> bool:
    """Return whether so much more, or so much else, is known now that another plan may be better."""
    new = len(now.steps - before.steps)
    if new > _MANY * len(now.steps) or (before.blind and not now.blind):
        return True
    both = before.run_s.keys() & now.run_s.keys()
    ratios = [(sum(before.run_s[step] for step in both), sum(now.run_s[step] for step in both))]
    ratios.append((float(before.capacity_bytes), float(now.capacity_bytes)))
    ratios += [(before.rates[remote], rate) for remote, rate in now.rates.items() if remote in before.rates]
    return not now.blind and any(not _alike(one, other) for one, other in ratios)


def _alike(one: float, other: float) -> bool:
    low, high = sorted((one, other))
    return high <= low * _MUCH if low > 0 else high <= 0
