"""The choice of a plan: several orders of a workflow's steps are tried in the simulated world, and the best is taken.

How long that may take is counted in simulated events, not in time: equal questions get equal answers.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from jitflow.model.data import FutureStep
from jitflow.planner import _orders
from jitflow.planner._graph import Graph, sizes_of
from jitflow.planner._noise import Noise
from jitflow.planner._order import depth_first
from jitflow.planner._plan import PLAIN_EAGER, Plan
from jitflow.planner.simulate import Arrival, Outcome, Setting, simulate

APART_S = 1e-4
UID = "planned"
_NOISE = 0.6
_SHARE = 3
_LEAST_PER_STEP = 4
"""Events of one plan: a share of what is left, but enough for a workflow that needs no result to come and go."""
_FAMILIES = 4
"""Random restarts are of the so many best kinds."""
_ROOMS = ("envelope", "", "eager", "both", "bold")
_PATIENCE = (4, None, 0, 16, None)
_ALL = 1 << 10
_REACHES = (0.02, 0.1, 0.005, 0.3)
"""How far, as a share of the whole, a step is moved in a plan beside the best one."""
_EARLY = 3
"""After so many kinds of order the best one is told of, if it is worth following while others are tried."""


class Kind(NamedTuple):
    """An order, and what is done when room is short: `envelope`, `eager`, `both`, `bold`, or nothing; and `Plan.patience`.

    `bold` is eager for all places at once.
    """

    order: str
    room: str = ""
    patience: int | None = None

    @property
    def name(self) -> str:
        """Return it in words."""
        return " ".join(filter(None, (self.order, self.room, "" if self.patience is None else f"patience {self.patience}")))


class Effort(Struct, frozen=True, kw_only=True):
    """How hard to look. `events`, or `events_per_step` if that is more: simulated at most.

    `restarts`: random orders tried at most, drawn from `seed`.

    `thrift`: a plan that is slower by no more than this share is better if it moves fewer bytes. `content`: no restart is tried
    once the best plan is slower by no more than this share than any can be. `steady`: the order that is followed until now is
    kept unless another one is faster by more than this share.
    """

    events: int = 200_000
    events_per_step: int = 60
    restarts: int = 16
    seed: int = 0
    thrift: float = 0.02
    content: float = 0.02
    steady: float = 0.1


def without_estimates(steps: Sequence[FutureStep]) -> Plan:
    """Return the plan that goes by sizes alone: one branch after another, within the envelope."""
    graph, steps = _graph(steps, 0.0)
    return _by_position(graph, _orders.depth(graph), Kind("post", "both"))


def plain(steps: Sequence[FutureStep]) -> Plan:
    """Return the order in which workflows without a plan are gone through, as a plan."""
    return Plan(
        starts={step.id: float(place) for place, step in enumerate(depth_first(steps))},
        eager=PLAIN_EAGER,
        keeps=True,
        name="plain",
    )


def choose(
    steps: Sequence[FutureStep],
    setting: Setting,
    effort: Effort | None = None,
    stop: Callable[[], bool] = lambda: False,
    *,
    current: Plan | None = None,
    early: Callable[[Plan], None] | None = None,
) -> Plan:
    """Return the plan under which a workflow alone in the primary ends first, of those that the effort allows to try.

    Args:
        steps: what is to come of the workflow.
        setting: the world in which plans are tried.
        effort: how hard to look.
        stop: nothing more is tried once it says so; for equal answers to equal questions leave it out.
        current: the order that is followed until now. What is here and on its way is here for its sake, and estimates are no
            more than that: it is kept, and returned, unless another one is much better.
        early: is told of a plan, once, as soon as there is one that is better than the current one. It is followed from then on,
            so it is what is returned, unless another one is clearly better.
    """
    search = Search(steps, setting, effort or Effort(), stop)
    search.early = early
    search.run(current)
    return search.chosen() if search.tried else search.kept() or search.untried()


class Search:
    """Tries plans until the effort is spent: first each kind of order, then variations of the best of them."""

    def __init__(self, steps: Sequence[FutureStep], setting: Setting, effort: Effort, stop: Callable[[], bool]) -> None:
        self.effort = effort
        self.stop = stop
        self.setting = setting
        self.graph, self.steps = _graph(steps, setting.run_s)
        self.tried: list[tuple[Plan, Outcome, Kind]] = []
        self.left: int = max(effort.events, effort.events_per_step * len(self.steps)) if effort.events else 0
        self.spent = 0
        self.best_s = float("inf")
        self.current: tuple[Plan, Outcome] | None = None
        self.early: Callable[[Plan], None] | None = None
        self.told: tuple[Plan, Outcome] | None = None

    def run(self, current: Plan | None) -> None:
        """Spend the effort."""
        outcome = self._simulate(current) if current is not None else None
        if current is not None and outcome is not None:
            self.current = current, outcome
        self.vary()

    def vary(self) -> None:
        """Try each kind of order, then variations of the best plans."""
        roomy: set[str] = set()
        for number, kind in enumerate(_KINDS):
            if number == _EARLY:
                self.tell()
            if self.left <= 0 or self.stop():
                return
            # Where room was never short, what is done when it is makes no difference.
            if kind.order not in roomy and self.attempt(_PLANS[kind.order](self.graph, self.setting, None, kind), kind):
                roomy.add(kind.order)
        workers, rate_Bps = self.setting.options.workers, self.setting.link.rate_Bps
        least_s = _orders.least_s(self.graph, workers=workers, rate_Bps=rate_Bps)
        noise = Noise(self.effort.seed)
        for number in range(self.effort.restarts):
            if not self.tried or self.left <= 0 or self.stop() or self.best_s <= least_s * (1 + self.effort.content):
                return
            self.tried.sort(key=lambda one: self.score(one[1]))
            self.attempt(*self._variation(number, noise))

    def _variation(self, number: int, noise: Noise) -> tuple[Plan, Kind]:
        """Return another plan to try: in turn an order of a good kind with noise, and a good plan with its steps moved a little.

        Now and then a good plan gets other rules for when room is short.
        """
        turn = number // 2
        if number % 2:
            kinds = list(dict.fromkeys(kind for _, _, kind in self.tried))
            kind = kinds[turn % min(_FAMILIES, len(kinds))]
            return _PLANS[kind.order](self.graph, self.setting, noise, kind), kind
        best, _, kind = self.tried[turn % min(2, len(self.tried))]
        if turn % 3 == 2:
            kind = Kind(kind.order, _ROOMS[turn % len(_ROOMS)], _PATIENCE[turn % len(_PATIENCE)])
            return _ruled(best, kind), kind
        return _beside(self.graph, best, noise, _REACHES[turn % len(_REACHES)], kind), kind

    def attempt(self, plan: Plan, kind: Kind) -> bool:
        """Simulate a plan and keep what came of it; return whether there was always room."""
        outcome = self._simulate(plan)
        if outcome is None:
            return False
        self.tried.append((plan, outcome, kind))
        return not outcome.shortages

    def tell(self) -> None:
        """Tell of the best plan until now, if it is worth following."""
        if self.early is None or not self.tried:
            return
        plan, outcome = self.thriftiest(min(outcome.makespan_s for _, outcome, _ in self.tried))
        if self.current is None or outcome.makespan_s < self.current[1].makespan_s * (1 - self.effort.steady):
            self.told = plan, outcome
            self.early(self.made(plan, outcome))

    def arrivals(self, plan: Plan) -> Sequence[Arrival]:
        """Return which workflows come when a plan is tried."""
        return [Arrival(uid=UID, steps=tuple(self.steps), plan=plan)]

    def _simulate(self, plan: Plan) -> Outcome | None:
        """Return what came of a plan, None if it was not seen to its end."""
        if self.left <= 0 or self.stop():
            return None
        arrivals = self.arrivals(plan)
        # No plan may spend what others need: one that lets everything come and go takes many events, and is seldom the best.
        most = max(self.left // _SHARE, _LEAST_PER_STEP * sum(len(one.steps) for one in arrivals))
        until_s = self.best_s * (1 + self.effort.thrift)
        outcome = simulate(arrivals, self.setting, until_s=until_s, events=min(self.left, most), stop=self.stop)
        self.left -= outcome.events
        self.spent += outcome.events
        if outcome.cut or outcome.unfinished:
            return None
        self.best_s = min(self.best_s, self.score(outcome))
        return outcome

    def score(self, outcome: Outcome) -> float:
        """Return how good what came of a plan is, in seconds; less is better, and none is less than the makespan."""
        return outcome.makespan_s

    def thriftiest(self, least_s: float) -> tuple[Plan, Outcome]:
        """Return the plan that moves the fewest bytes of those whose score is hardly more than the least."""
        plan, outcome, _ = min(
            (one for one in self.tried if self.score(one[1]) <= least_s * (1 + self.effort.thrift)),
            key=lambda one: (one[1].fetched_bytes + one[1].stored_bytes, self.score(one[1])),
        )
        return plan, outcome

    def untried(self) -> Plan:
        """Return a plan though none was simulated: where everything has room run times count, else sizes."""
        graph = self.graph
        if sum(graph.far_bytes) + sum(graph.made_bytes) > self.setting.capacity_bytes or not any(graph.run_s):
            return without_estimates(self.steps)
        plan = _PLANS["soon"](graph, self.setting, None, Kind("soon"))
        return replace(plan, reason=f"{plan.name}: there is room for everything")

    def kept(self) -> Plan | None:
        """Return the current plan as one that is followed on, None if there is none, or if it was not seen to its end."""
        if self.current is None:
            return None
        plan, outcome = self.current
        reason = f"{plan.name}: kept, for none of {len(self.tried)} others is faster by more than {self.effort.steady:.0%}"
        return replace(plan, makespan_s=outcome.makespan_s, reason=reason)

    def chosen(self) -> Plan:
        """Return the plan that moves the fewest bytes of those that are hardly slower than the fastest, or the current one."""
        fastest_s = min(outcome.makespan_s for _, outcome, _ in self.tried)
        kept = self.kept()
        if kept is not None and fastest_s >= (kept.makespan_s or 0.0) * (1 - self.effort.steady):
            return kept
        if self.told is not None and fastest_s >= self.told[1].makespan_s * (1 - self.effort.thrift):
            return self.made(*self.told)
        return self.made(*self.thriftiest(fastest_s))

    def made(self, plan: Plan, outcome: Outcome) -> Plan:
        """Return a plan with what came of it, and why it was chosen."""
        reason = f"{plan.name}: best of {len(self.tried)} plans that ended, in {self.spent:,} simulated events"
        # Beside other workflows the plan is measured in the time that this one would take alone.
        scale = outcome.makespan_s / max(APART_S, *plan.starts.values()) if outcome.makespan_s else 1.0
        starts = {name: start * scale for name, start in plan.starts.items()}
        return replace(plan, starts=starts, pace_s=plan.pace_s * scale, makespan_s=outcome.makespan_s, reason=reason)


def kind_of(plan: Plan) -> Kind:
    """Return the kind of a plan by its name."""
    order, *rest = plan.name.split() or ("",)
    room = rest[0] if rest and rest[0] in _ROOMS else ""
    return Kind(order if order in _PLANS else "list", room, plan.patience)


def _graph(steps: Sequence[FutureStep], run_s: float) -> tuple[Graph, Sequence[FutureStep]]:
    seen: set[str] = set()
    names = {step.id for step in steps}
    for step in steps:
        if any(name in names and name not in seen for name in step.after):
            steps = depth_first(steps)
            break
        seen.add(step.id)
    return Graph(steps, sizes_of(steps), run_s), steps


def _ranks(graph: Graph, noise: Noise | None) -> list[float]:
    if noise is None:
        return _orders.upward(graph, graph.run_s)
    return _orders.upward(graph, [one * noise.factor(_NOISE) for one in graph.run_s])


def _critical(graph: Graph, setting: Setting, noise: Noise | None, kind: Kind) -> Plan:
    return _by_time(graph, _orders.by_rank(graph, _ranks(graph, noise)), setting, kind)


def _soonest(graph: Graph, setting: Setting, noise: Noise | None, kind: Kind) -> Plan:
    ranks = _ranks(graph, noise)
    order = _orders.soonest(graph, ranks, workers=setting.options.workers, rate_Bps=setting.link.rate_Bps)
    return _by_time(graph, order, setting, kind)


def _post(graph: Graph, setting: Setting, noise: Noise | None, kind: Kind) -> Plan:
    return _by_position(graph, _orders.depth(graph, noise), kind, setting.options.workers)


def _lean(graph: Graph, setting: Setting, noise: Noise | None, kind: Kind) -> Plan:
    return _by_position(graph, _orders.lean(graph, noise), kind, setting.options.workers)


def _near(graph: Graph, setting: Setting, noise: Noise | None, kind: Kind) -> Plan:
    return _by_position(graph, _orders.near(graph, noise), kind, setting.options.workers)


def _listed(graph: Graph, setting: Setting, noise: Noise | None, kind: Kind) -> Plan:
    order = _orders.listed(graph) if noise is None else _orders.shuffled(graph, noise)
    return _by_position(graph, order, kind, setting.options.workers)


_PLANS: Final[dict[str, Callable[[Graph, Setting, Noise | None, Kind], Plan]]] = {
    "cp": _critical,
    "soon": _soonest,
    "post": _post,
    "mem": _lean,
    "aff": _near,
    "list": _listed,
}
_KINDS: Final = (
    Kind("post", "both"),
    Kind("cp", "eager"),
    Kind("post", "eager", 4),
    Kind("mem", "bold"),
    Kind("soon", "eager"),
    Kind("list", "both"),
    Kind("post", "bold"),
    Kind("post", "envelope"),
    Kind("post", "eager"),
    Kind("soon", "both"),
    Kind("cp"),
    Kind("soon"),
    Kind("post"),
    Kind("list", "eager"),
    Kind("cp", "bold"),
    Kind("mem", "envelope"),
    Kind("aff", "envelope"),
    Kind("soon", "envelope"),
    Kind("list", "envelope"),
    Kind("mem", "both"),
    Kind("mem"),
    Kind("aff"),
    Kind("mem", "eager"),
    Kind("soon", "bold"),
    Kind("mem", "eager", 4),
    Kind("aff", "eager"),
    Kind("cp", "envelope"),
)
"""In the order in which they gain most beside those before them; `list` is later, for it may mean nothing how steps are listed.

On recorded workflows (`make bench-traces`), with room for a tenth or a quarter of their bytes, the best of the first six is two
thousandths slower than the best of all, on the average, and that of the first two four hundredths.
"""


def _by_time(graph: Graph, order: Sequence[int], setting: Setting, kind: Kind) -> Plan:
    """Return a plan of an order in which steps start when places and data allow."""
    begun = _orders.starts(graph, order, workers=setting.options.workers, rate_Bps=setting.link.rate_Bps)
    place = {n: at for at, n in enumerate(order)}
    starts: dict[str, float] = {}
    last = -APART_S
    for n in sorted(order, key=lambda n: (begun[n], place[n])):
        last = max(begun[n], last + APART_S)
        starts[graph.ids[n]] = last
    return _plan(starts, graph, kind)


def _by_position(graph: Graph, order: Sequence[int], kind: Kind, workers: int = 1) -> Plan:
    """Return a plan of an order in which steps follow each other evenly."""
    pace = max(sum(graph.run_s) / max(1, workers * len(graph)), APART_S) if any(graph.run_s) else 1.0
    return _plan({graph.ids[n]: at * pace for at, n in enumerate(order)}, graph, kind)


def _beside(graph: Graph, plan: Plan, noise: Noise, reach: float, kind: Kind) -> Plan:
    """Return a plan in which the steps of another one are moved a little."""
    far = reach * max(plan.starts.values(), default=0.0)
    keys = [plan.starts[name] + far * noise.normal() for name in graph.ids]
    starts: dict[str, float] = {}
    last = -APART_S
    for n in _orders.by_key(graph, keys):
        last = max(keys[n], last + APART_S)
        starts[graph.ids[n]] = last
    return _plan(starts, graph, kind)


def _ruled(plan: Plan, kind: Kind) -> Plan:
    """Return the plan with the rules of a kind for when room is short."""
    envelope = kind.room in {"envelope", "both"}
    eager = _ALL if kind.room == "bold" else int(kind.room in {"eager", "both"})
    return replace(plan, envelope=envelope, eager=eager, patience=kind.patience, name=kind.name, reason=kind.name)


def _plan(starts: dict[str, float], graph: Graph, kind: Kind) -> Plan:
    pace = max(max(starts.values(), default=0.0) / max(1, len(graph)), APART_S)
    return _ruled(Plan(starts=starts, pace_s=pace), kind)
