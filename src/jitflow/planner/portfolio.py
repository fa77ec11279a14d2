"""The choice of a plan: several orders of a workflow's steps are tried in the simulated world, and the best is taken.

How long that may take is counted in simulated events, not in time: equal questions get equal answers.
"""

from collections.abc import Iterator, Sequence
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from jitflow.model.data import FutureStep
from jitflow.planner import _orders
from jitflow.planner._graph import Graph, sizes_of
from jitflow.planner._order import depth_first
from jitflow.planner._plan import Plan
from jitflow.planner.simulate import Arrival, Outcome, Setting, simulate

_APART_S = 1e-4
_UID = "planned"


class Effort(Struct, frozen=True, kw_only=True):
    """How hard to look. `events`: simulated at most; `restarts`: random orders tried at most, drawn from `seed`.

    `thrift`: a plan that is slower by no more than this share is better if it moves fewer bytes.
    """

    events: int = 200_000
    restarts: int = 16
    seed: int = 0
    thrift: float = 0.02


def without_estimates(steps: Sequence[FutureStep]) -> Plan:
    """Return the plan that goes by sizes alone: one branch after another, within the envelope."""
    graph, steps = _graph(steps, 0.0)
    return _by_position(graph, _orders.depth(graph), name="post", envelope=True)


def choose(steps: Sequence[FutureStep], setting: Setting, effort: Effort | None = None) -> Plan:
    """Return the plan under which a workflow alone in the primary ends first, of those that the effort allows to try."""
    effort = effort or Effort()
    graph, steps = _graph(steps, setting.run_s)
    tried: list[tuple[Plan, Outcome]] = []
    left = effort.events
    best = float("inf")
    for plan in _candidates(graph, setting, effort):
        if left <= 0:
            break
        arrival = Arrival(uid=_UID, steps=tuple(steps), plan=plan)
        outcome = simulate([arrival], setting, until_s=best * (1 + effort.thrift), events=left)
        left -= outcome.events
        if not outcome.cut and not outcome.unfinished:
            tried.append((plan, outcome))
            best = min(best, outcome.makespan_s)
    if not tried:
        return without_estimates(steps)
    return _chosen(tried, best * (1 + effort.thrift), effort.events - left)


def _chosen(tried: Sequence[tuple[Plan, Outcome]], slowest_s: float, events: int) -> Plan:
    plan, outcome = min(
        (one for one in tried if one[1].makespan_s <= slowest_s),
        key=lambda one: (one[1].fetched_bytes + one[1].stored_bytes, one[1].makespan_s),
    )
    reason = f"{plan.name}: best of {len(tried)} plans that ended, in {events:,} simulated events"
    return replace(plan, makespan_s=outcome.makespan_s, reason=reason)


def _graph(steps: Sequence[FutureStep], run_s: float) -> tuple[Graph, Sequence[FutureStep]]:
    seen: set[str] = set()
    names = {step.id for step in steps}
    for step in steps:
        if any(name in names and name not in seen for name in step.after):
            steps = depth_first(steps)
            break
        seen.add(step.id)
    return Graph(steps, sizes_of(steps), run_s), steps


def _candidates(graph: Graph, setting: Setting, effort: Effort) -> Iterator[Plan]:
    """Iterate over plans, the promising ones first."""
    rank, post = _orders.by_rank(graph), _orders.depth(graph)
    yield _by_time(graph, rank, setting, name="cp", envelope=False)
    yield _by_position(graph, post, name="post", envelope=True)
    yield _by_position(graph, post, name="post", envelope=False)
    yield _by_time(graph, rank, setting, name="cp", envelope=True)
    for name, order in (("mem", _orders.lean(graph)), ("aff", _orders.near(graph)), ("list", _orders.listed(graph))):
        yield _by_position(graph, order, name=name, envelope=False)
        yield _by_position(graph, order, name=name, envelope=True)
    random = Random(effort.seed)
    for number in range(effort.restarts):
        if number % 2:
            order = _orders.depth(graph, random)
            yield _by_position(graph, order, name=f"post, restart {number}", envelope=number % 4 == 1)
        else:
            order = _orders.shaken(graph, random)
            yield _by_time(graph, order, setting, name=f"cp, restart {number}", envelope=number % 4 == 0)


def _by_time(graph: Graph, order: Sequence[int], setting: Setting, *, name: str, envelope: bool) -> Plan:
    """Return a plan of an order in which steps start when places and data allow."""
    begun = _orders.starts(graph, order, workers=setting.options.workers, rate_Bps=setting.link.rate_Bps)
    place = {n: at for at, n in enumerate(order)}
    starts: dict[str, float] = {}
    last = -_APART_S
    for n in sorted(order, key=lambda n: (begun[n], place[n])):
        last = max(begun[n], last + _APART_S)
        starts[graph.ids[n]] = last
    return _plan(starts, graph, name, envelope=envelope)


def _by_position(graph: Graph, order: Sequence[int], *, name: str, envelope: bool) -> Plan:
    """Return a plan of an order in which steps follow each other evenly."""
    span = max(sum(graph.run_s), 1.0)
    pace = max(span / max(1, len(graph)), _APART_S)
    return _plan({graph.ids[n]: at * pace for at, n in enumerate(order)}, graph, name, envelope=envelope)


def _plan(starts: dict[str, float], graph: Graph, name: str, *, envelope: bool) -> Plan:
    pace = max(starts.values(), default=0.0) / max(1, len(graph))
    name = f"{name}{', within the envelope' if envelope else ''}"
    return Plan(starts=starts, envelope=envelope, pace_s=max(pace, _APART_S), name=name, reason=name)
