"""A small world for the planner: workers, a link, and time that jumps from event to event. Deterministic.

The link is full duplex and fluid: all streams of one direction get the same rate, the link's rate divided by their number, at
most `stream_Bps`; a transfer begins to move `latency_s` after it was started.
"""

import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from jitflow.model.bandwidth import Rate
from jitflow.model.data import FutureStep, ObjectRef, StepId, WorkflowUid
from jitflow.planner._plan import Plan
from jitflow.planner.commands import Bypass, Command, Evict, Fetch, Grant, Look, Refuse, Store, Take
from jitflow.planner.planner import Planner, PlannerOptions

_EVENTS_PER_STEP = 64
_BETWEEN_STOPS = 32
_NEVER = float("inf")
_MANY = 1 << 30


class Link(Struct, frozen=True, kw_only=True):
    """A link to the far stores: `rate_Bps` each way, at most `stream_Bps` for one transfer, `latency_s` before each.

    How much moves at once, see `Planner.set_link`: `fill_streams`, `fill_bytes`, `part_bytes`; 0: as the options say.
    `limits`: from which second on it may give no more than what.
    """

    rate_Bps: float
    stream_Bps: float = float("inf")
    latency_s: float = 0.0
    fill_streams: int = 0
    fill_bytes: int = 0
    part_bytes: int = 0
    limits: tuple[tuple[float, Rate], ...] = ()


class Arrival(Struct, frozen=True, kw_only=True):
    """A workflow that is submitted at a time."""

    uid: WorkflowUid
    steps: tuple[FutureStep, ...]
    at_s: float = 0.0
    plan: Plan | None = None


class Setting(Struct, frozen=True, kw_only=True):
    """Where workflows run. `link`: to every far store that is not among the `links`, which are named after theirs.

    `run_s`: assumed of steps that do not say; `resident`: what is in the primary at the start.

    `ahead`: False where nothing is known ahead: a step takes a place first and fetches what it reads while it holds it.
    """

    capacity_bytes: int
    link: Link
    options: PlannerOptions
    run_s: float = 0.0
    resident: dict[ObjectRef, int] = {}
    ahead: bool = True
    links: dict[str, Link] = {}


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of it. `makespan_s`: until the last output is far away; `waited_s`: steps' time between ask and grant, summed.

    `shortages`: how often a ready step found no room; `events`: how many were simulated, `cut`: more would have come.

    `ended`: when each step ended; `refused`: steps that can never start, and why; `unfinished`: steps that did not end.
    """

    makespan_s: float
    peak_bytes: int
    fetched_bytes: int
    stored_bytes: int
    waited_s: float
    shortages: int
    events: int
    cut: bool
    ended: dict[StepId, float]
    refused: dict[StepId, str]
    unfinished: tuple[StepId, ...]


class _Pipe:
    """One direction of the link: streams that share its rate evenly, so many at once, the urgent ones first."""

    def __init__(self, link: Link, most: int) -> None:
        self._link = link
        self._rate_Bps = link.rate_Bps
        self._most = most
        self._served = 0.0
        self._at = 0.0
        self._streams: list[tuple[float, int, int, ObjectRef]] = []
        self._weight = 0
        self._count = 0
        self._active = 0
        self._waiting: tuple[deque[ObjectRef], deque[ObjectRef]] = (deque(), deque())

    def _rate(self) -> float:
        return min(self._link.stream_Bps, self._rate_Bps / self._weight) if self._weight else 0.0

    def limit(self, most_Bps: int | None) -> None:
        """Give no more than this from now on; None: what the link gives."""
        self._rate_Bps = self._link.rate_Bps if most_Bps is None else min(self._link.rate_Bps, most_Bps)

    def advance(self, now: float) -> None:
        """Serve all streams until now."""
        if now > self._at:
            self._served += self._rate() * (now - self._at)
            self._at = now

    def queue(self, ref: ObjectRef, *, urgent: bool) -> None:
        """Enter an object that is to begin as soon as there is a place."""
        self._waiting[0 if urgent else 1].append(ref)

    def unqueue(self, ref: ObjectRef) -> bool:
        """Take an object off the queue; False if it is not there."""
        for waiting in self._waiting:
            if ref in waiting:
                waiting.remove(ref)
                return True
        return False

    def next_queued(self) -> ObjectRef | None:
        """Return the next object that may begin now, if there is one."""
        if self._active >= self._most:
            return None
        for waiting in self._waiting:
            if waiting:
                self._active += 1
                return waiting.popleft()
        return None

    def join(self, ref: ObjectRef, size: int, parts: int = 1) -> None:
        """Begin to move bytes in so many equal parts."""
        self._count += 1
        self._weight += parts
        heapq.heappush(self._streams, (self._served + size / parts, self._count, parts, ref))

    def next_end(self) -> float:
        """Return when the next object is complete if none joins."""
        if not self._streams:
            return _NEVER
        return self._at + max(0.0, self._streams[0][0] - self._served) / self._rate()

    def pop(self) -> ObjectRef:
        """End the object that is due."""
        end, _, parts, ref = heapq.heappop(self._streams)
        self._served = max(self._served, end)
        self._weight -= parts
        self._active -= 1
        return ref

    def release(self) -> None:
        """Count one object less that may begin."""
        self._active -= 1

    def leave(self, ref: ObjectRef) -> None:
        """Give an object up that may be under way."""
        for place, entry in enumerate(self._streams):
            if entry[3] == ref:
                self._weight -= entry[2]
                self.release()
                del self._streams[place]
                heapq.heapify(self._streams)
                return


class _Way:
    """The link to a far store: both directions."""

    def __init__(self, link: Link, most: int) -> None:
        self.down = _Pipe(link, _MANY)
        self.up = _Pipe(link, most)
        self.latency_s = link.latency_s
        self.limits = link.limits

    def limit(self, rate: Rate) -> None:
        """Give no more than this from now on."""
        self.down.limit(rate.down_Bps)
        self.up.limit(rate.up_Bps)


class _Limit(NamedTuple):
    """What a link may give from a time on."""

    way: _Way
    rate: Rate


class _World:
    """Obeys the planner and lets time pass."""

    def __init__(self, arrivals: Sequence[Arrival], setting: Setting) -> None:
        self.setting = setting
        self.planner = Planner(setting.capacity_bytes, setting.options)
        self.now = 0.0
        self.usual = _Way(setting.link, setting.options.transfers)
        self.ways = {remote: _Way(link, setting.options.transfers) for remote, link in sorted(setting.links.items())}
        self.all_ways = (self.usual, *self.ways.values())
        for remote, link in sorted(setting.links.items()):
            self.planner.set_link(
                remote,
                rate_Bps=link.rate_Bps,
                stream_Bps=min(link.stream_Bps, link.rate_Bps),
                latency_s=link.latency_s,
                fill_streams=link.fill_streams or None,
                fill_bytes=link.fill_bytes or None,
                part_bytes=link.part_bytes or None,
            )
        self.timers: list[tuple[float, int, str, object]] = []
        self.steps: dict[StepId, tuple[WorkflowUid, FutureStep]] = {}
        self.blockers: dict[StepId, int] = {}
        self.children: dict[StepId, list[StepId]] = {}
        self.sizes: dict[ObjectRef, int] = {}
        self.transient: set[ObjectRef] = set()
        self.parts: dict[ObjectRef, int] = {}
        self.leaving: dict[ObjectRef, bool] = {}
        """Uploads that have begun and do not move yet, and whether they are wanted."""
        self.free = setting.options.workers
        self.waiting: list[tuple[int, StepId]] = []
        self.asked_at: dict[StepId, float] = {}
        self.ended: dict[StepId, float] = {}
        self.refused: dict[StepId, str] = {}
        self.fetched = self.stored = 0
        self.waited = 0.0
        self.last = 0.0
        self.events = 0
        self.cut = True
        self._count = 0
        self.sizes.update(setting.resident)
        for ref, size in sorted(setting.resident.items()):
            self.planner.found(ref, size)
        for way in self.all_ways:
            for at_s, rate in way.limits:
                self._timer(at_s, "limit", _Limit(way, rate))
        for arrival in arrivals:
            self._learn(arrival)
            self._timer(arrival.at_s, "arrive", arrival)

    def _learn(self, arrival: Arrival) -> None:
        known = {step.id for step in arrival.steps}
        for step in arrival.steps:
            self.steps[step.id] = (arrival.uid, step)
            parents = [name for name in dict.fromkeys(step.after) if name in known]
            self.blockers[step.id] = len(parents)
            for name in parents:
                self.children.setdefault(name, []).append(step.id)
            self.sizes.update((one.ref, one.size_bytes) for one in step.inputs if one.size_bytes is not None)
        for step in arrival.steps:
            self.sizes.update((one.ref, one.size_bytes or 0) for one in step.outputs)
            self.transient.update(one.ref for one in step.outputs if one.transient)

    def _timer(self, at: float, kind: str, what: object) -> None:
        self._count += 1
        heapq.heappush(self.timers, (at, self._count, kind, what))

    def run(self, until_s: float, events: int, stop: Callable[[], bool]) -> None:
        """Let things happen until nothing is left to happen, the time has come, there were so many events, or `stop` says so."""
        while self.events < events:
            if not self.events % _BETWEEN_STOPS and stop():
                return
            self._pump()
            timer = self.timers[0][0] if self.timers else _NEVER
            soonest, first, upward = timer, None, False
            for way in self.all_ways:
                down, up = way.down.next_end(), way.up.next_end()
                if down < soonest:
                    soonest, first, upward = down, way, False
                if up < soonest:
                    soonest, first, upward = up, way, True
            if soonest >= until_s or soonest == _NEVER:
                self.cut = soonest != _NEVER
                return
            self.events += 1
            self.now = soonest
            for way in self.all_ways:
                way.down.advance(soonest)
                way.up.advance(soonest)
            if first is None:
                self._fire()
            elif upward:
                self._uploaded(first.up.pop())
            else:
                self.planner.arrived(first.down.pop())

    def _way(self, ref: ObjectRef) -> _Way:
        return self.ways.get(ref.remote, self.usual)

    def _fire(self) -> None:
        _, _, kind, what = heapq.heappop(self.timers)
        if isinstance(what, Arrival):
            if self.setting.ahead:
                self.planner.announce(what.uid, what.steps, what.plan)
            for step in what.steps:
                if not self.blockers[step.id]:
                    self._ask(step.id)
        elif isinstance(what, ObjectRef):
            if kind == "down":
                self._way(what).down.join(what, self.sizes[what], self.parts.pop(what, 1))
            elif self.leaving.pop(what, False):
                self._way(what).up.join(what, self.sizes[what])
        elif isinstance(what, str):
            self._end(what)
        elif isinstance(what, _Limit):
            what.way.limit(what.rate)

    def _ask(self, name: StepId) -> None:
        self.asked_at[name] = self.now
        if self.setting.ahead:
            self.planner.ask(*self.steps[name])
        else:
            self._queue(name)

    def _queue(self, name: StepId) -> None:
        """Let a step wait for a place."""
        self._count += 1
        heapq.heappush(self.waiting, (self._count, name))

    def _granted(self, name: StepId) -> None:
        self.waited += self.now - self.asked_at[name]
        if self.setting.ahead:
            self._queue(name)
        else:
            self._begin(name)

    def _begin(self, name: StepId) -> None:
        run_s = self.steps[name][1].run_s
        self._timer(self.now + (self.setting.run_s if run_s is None else run_s), "end", name)

    def _end(self, name: StepId) -> None:
        self.free += 1
        self.ended[name] = self.last = self.now
        step = self.steps[name][1]
        self.planner.ended(name, [(one.ref, one.size_bytes or 0) for one in step.outputs])
        for child in self.children.get(name, ()):
            self.blockers[child] -= 1
            if not self.blockers[child]:
                self._ask(child)

    def _uploaded(self, ref: ObjectRef) -> None:
        if ref not in self.transient:
            self.last = self.now
        self.stored += self.sizes[ref]
        self.planner.uploaded(ref, self.sizes[ref])

    def _pump(self) -> None:
        self._decide()
        while self.free and self.waiting:
            _, name = heapq.heappop(self.waiting)
            self.free -= 1
            if self.setting.ahead:
                self._begin(name)
            else:
                self.planner.ask(*self.steps[name])
                self._decide()
        for way in self.all_ways:
            while (ref := way.up.next_queued()) is not None:
                self.leaving[ref] = True
                self._timer(self.now + way.latency_s, "up", ref)

    def _decide(self) -> None:
        while commands := self.planner.decide(self.now):
            for command in commands:
                self._obey(command)

    def _obey(self, command: Command) -> None:
        match command:
            case Fetch(ref=ref, size_bytes=size, parts=parts):
                self.fetched += size
                self.parts[ref] = parts
                self._timer(self.now + self._way(ref).latency_s, "down", ref)
            case Evict(ref=ref):
                self._drop(ref)
            case Take(ref=ref):
                self.planner.taken(ref)
                if ref not in self.transient:
                    self._way(ref).up.queue(ref, urgent=False)
            case Bypass(ref=ref):
                self._way(ref).up.queue(ref, urgent=True)
            case Store(ref=ref):
                self._way(ref).up.unqueue(ref)
                self._way(ref).up.queue(ref, urgent=True)
            case Grant(step=name):
                self._granted(name)
            case Look(ref=ref):
                self.planner.size_known(ref, self.sizes.setdefault(ref, 0))
            case Refuse(step=name, message=message):
                self.refused[name] = message
                self.free += not self.setting.ahead
            case _:
                # A cancelled transfer runs on here: no workflow is ever withdrawn in this world.
                pass

    def _drop(self, ref: ObjectRef) -> None:
        if ref in self.transient and not self._way(ref).up.unqueue(ref):
            if self.leaving.get(ref):
                self.leaving[ref] = False
                self._way(ref).up.release()
            else:
                self._way(ref).up.leave(ref)
        self.planner.evicted(ref)


def simulate(
    arrivals: Sequence[Arrival],
    setting: Setting,
    *,
    until_s: float = _NEVER,
    events: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Run workflows under the planner in a simulated world and say what came of it.

    Nothing is simulated after `until_s`, nor more than so many `events`, nor after `stop` has said so, which is asked now and
    then; what has not ended by then is unfinished.
    """
    world = _World(arrivals, setting)
    bound = _EVENTS_PER_STEP * (len(world.steps) + 16) + 4 * sum(len(step.inputs) for _, step in world.steps.values())
    world.run(until_s, min(bound, events) if events is not None else bound, stop)
    return Outcome(
        makespan_s=world.last,
        peak_bytes=world.planner.bytes.peak,
        fetched_bytes=world.fetched,
        stored_bytes=world.stored,
        waited_s=world.waited,
        shortages=world.planner.shortages,
        events=world.events,
        cut=world.cut,
        ended=world.ended,
        refused=world.refused,
        unfinished=tuple(name for name in world.steps if name not in world.ended),
    )


def explain(
    steps: Sequence[FutureStep],
    *,
    capacity_bytes: int,
    link: Link,
    options: PlannerOptions,
    resident: Mapping[ObjectRef, int] | None = None,
    run_s: float = 0.0,
) -> Outcome:
    """Foresee one workflow alone in the primary: its makespan, its peak, the bytes that will move."""
    setting = Setting(capacity_bytes=capacity_bytes, link=link, options=options, run_s=run_s, resident=dict(resident or {}))
    return simulate([Arrival(uid="explained", steps=tuple(steps))], setting)
