"""The planner in the model: its commands are obeyed, its decisions are timed."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from benchmark.traces.workloads import LATENCY_S, STREAM_SHARE, TRANSFERS, WORKERS, Point, Trace
from benchmark.traces.world import Clock
from jitflow.model.data import FutureStep, ObjectRef, ReplicaState
from jitflow.planner import Beside, Command, Evict, Fetch, Grant, Link, Plan, Planner, PlannerOptions, Setting, Store, Take

_PART_BYTES = 16 << 20
Chooser = Callable[[Sequence[Beside], Mapping[ObjectRef, int]], Plan]
"""Gives a plan, from the workflows that run and what is near."""


def setting(point: Point) -> Setting:
    """Return what the planner is told of a place of the grid."""
    link = Link(rate_Bps=point.rate_Bps, stream_Bps=point.rate_Bps / STREAM_SHARE, latency_s=LATENCY_S)
    return Setting(capacity_bytes=point.capacity, link=link, options=options(point.rate_Bps))


def guessed(point: Point, sigma: float, seed: str) -> Setting:
    """Return the setting with a rate that is off by a lognormal factor."""
    exact = setting(point)
    rate_Bps = point.rate_Bps * Random(seed).lognormvariate(0.0, sigma)
    link = Link(rate_Bps=rate_Bps, stream_Bps=rate_Bps / STREAM_SHARE, latency_s=LATENCY_S)
    return Setting(capacity_bytes=exact.capacity_bytes, link=link, options=options(rate_Bps))


def options(rate_Bps: float) -> PlannerOptions:
    """Return the planner's limits on a link."""
    return PlannerOptions(
        transfers=TRANSFERS,
        workers=WORKERS,
        slots=WORKERS,
        window=4096,
        part_bytes=_PART_BYTES,
        fill_streams=STREAM_SHARE,
        fill_bytes=int(2 * rate_Bps * LATENCY_S),
        rate_Bps=rate_Bps,
        latency_s=LATENCY_S,
        default_output_bytes=0,
    )


@dataclass(frozen=True)
class Submitted:
    """A workflow that arrives at a time with a plan; `steps` say what the planner is told, the trace what is true.

    `choose`: gives the plan when it arrives, from what runs then and what is near.
    """

    uid: str
    trace: Trace
    steps: Sequence[FutureStep]
    plan: Plan | None = None
    at_s: float = 0.0
    choose: Chooser | None = None


@dataclass
class Outcome:
    """What came of a run."""

    makespan_s: float = 0.0
    ends: dict[str, float] = field(default_factory=dict)
    bytes_down: int = 0
    bytes_up: int = 0
    peak_bytes: int = 0
    decisions: int = 0
    times_s: list[float] = field(default_factory=list)
    unfinished: int = 0

    @property
    def p99_us(self) -> float:
        """Return what the slowest of a hundred decisions takes at least, in microseconds."""
        times = sorted(self.times_s)
        return 1e6 * times[min(len(times) - 1, len(times) * 99 // 100)] if times else 0.0


class Drive:
    """Workflows in one store under one planner."""

    def __init__(self, submitted: Sequence[Submitted], point: Point, planner: Planner | None = None) -> None:
        """Begin with an empty store."""
        self.clock = Clock(point.rate_Bps)
        self.planner = planner or Planner(point.capacity, options(point.rate_Bps))
        self.outcome = Outcome()
        self._steps: dict[str, tuple[Submitted, FutureStep, float]] = {}
        self._sizes: dict[ObjectRef, int] = {}
        self._blockers: dict[str, int] = {}
        self._children: dict[str, list[str]] = {}
        self._transient: set[ObjectRef] = set()
        self._owner: dict[ObjectRef, str] = {}
        self._ended: set[str] = set()
        self._running: dict[str, tuple[Submitted, Plan | None]] = {}
        for one in submitted:
            self._learn(one)
            self.clock.after(one.at_s, lambda one=one: self._arrive(one))

    def _learn(self, one: Submitted) -> None:
        for step, task in zip(one.steps, one.trace.tasks, strict=True):
            self._steps[step.id] = (one, step, task.run_s)
            self._blockers[step.id] = len(step.after)
            for name in step.after:
                self._children.setdefault(name, []).append(step.id)
            self._sizes.update((each.ref, each.size_bytes) for each in step.inputs if each.size_bytes is not None)
            self._sizes.update((each.ref, each.size_bytes or 0) for each in step.outputs)
            self._transient.update(each.ref for each in step.outputs if each.transient)
            self._owner.update((each.ref, one.uid) for each in step.outputs)
        self.outcome.unfinished += len(one.steps) + len(one.trace.finals)

    def run(self) -> Outcome:
        """Let everything happen."""
        while True:
            began = time.thread_time()
            self._pump()
            self.outcome.times_s.append(time.thread_time() - began)
            if not self.clock.step():
                break
        outcome = self.outcome
        outcome.bytes_down, outcome.bytes_up = self.clock.down.moved, self.clock.up.moved
        outcome.peak_bytes = self.planner.bytes.peak
        outcome.makespan_s = max(outcome.ends.values(), default=0.0)
        return outcome

    def _arrive(self, one: Submitted) -> None:
        self.planner.decide(self.clock.now)
        plan = one.choose(self._beside(), self._near(one)) if one.choose is not None else one.plan
        self._running[one.uid] = (one, plan)
        self.planner.announce(one.uid, one.steps, plan)
        for step in one.steps:
            if not step.after:
                self.planner.ask(one.uid, step)

    def _beside(self) -> list[Beside]:
        """Return what is left of the workflows that have come."""
        found: list[Beside] = []
        for uid, (one, plan) in self._running.items():
            left = [step for step in one.steps if step.id not in self._ended]
            if left:
                found.append(Beside(uid=uid, steps=left, plan=plan, came_s=self.clock.now - one.at_s))
        return found

    def _near(self, new: Submitted) -> dict[ObjectRef, int]:
        """Return what is in the store of what the new workflow and those that have come read and nobody will write."""
        left = [
            step for one in (*(one for one, _ in self._running.values()), new) for step in one.steps if step.id not in self._ended
        ]
        written = {each.ref for step in left for each in step.outputs}
        read = dict.fromkeys(each.ref for step in left for each in step.inputs)
        views = ((ref, self.planner.item(ref)) for ref in read if ref not in written)
        return {ref: self._sizes[ref] for ref, view in views if view is not None and view.state is ReplicaState.RESIDENT}

    def _pump(self) -> None:
        while commands := self.planner.decide(self.clock.now):
            self.outcome.decisions += len(commands)
            for command in commands:
                self._obey(command)

    def _obey(self, command: Command) -> None:
        clock, planner, size = self.clock, self.planner, self._sizes
        match command:
            case Fetch(ref=ref, parts=parts):
                clock.down.start(ref, size[ref], lambda: planner.arrived(ref), parts)
            case Evict(ref=ref):
                clock.up.cancel(ref)
                planner.evicted(ref)
            case Take(ref=ref):
                planner.taken(ref)
                if ref not in self._transient:
                    clock.up.queue(ref, size[ref], lambda: self._stored(ref))
            case Store(ref=ref):
                clock.up.queue(ref, size[ref], lambda: planner.uploaded(ref, size[ref]), urgent=True)
            case Grant(step=name):
                clock.after(self._steps[name][2], lambda: self._end(name))
            case _:
                raise AssertionError(f"the model has no such thing: {command}")

    def _stored(self, ref: ObjectRef) -> None:
        self.outcome.unfinished -= 1
        self.outcome.ends[self._owner[ref]] = self.clock.now
        self.planner.uploaded(ref, self._sizes[ref])

    def _end(self, name: str) -> None:
        one, step, _ = self._steps[name]
        self.outcome.unfinished -= 1
        self.outcome.ends[one.uid] = self.clock.now
        self._ended.add(name)
        self.planner.ended(name, [(each.ref, each.size_bytes or 0) for each in step.outputs])
        for child in self._children.get(name, ()):
            self._blockers[child] -= 1
            if not self._blockers[child]:
                self.planner.ask(one.uid, self._steps[child][1])
