"""Several workflows in one store: how long all take together, and how much each is held up by the others."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from benchmark.traces import bound, drive
from benchmark.traces.grid import BLIND, OURS, place_of, trace_of
from benchmark.traces.kept import Place
from benchmark.traces.tables import table
from benchmark.traces.workloads import WORKERS, Point, Trace, balanced, name_of, rate
from jitflow.model.data import FutureStep, ObjectRef
from jitflow.planner import Beside, Effort, Plan, choose, choose_beside, without_estimates

MIXES = (
    ("montage-chameleon-2mass-01d", "epigenomics-chameleon-hep", "smrnaseq", "seismology"),
    ("1000genome", "cycles", "montage-chameleon-dss", "epigenomics-chameleon-ilmn"),
    ("montage-chameleon-2mass-05d", "smrnaseq", "cycles", "epigenomics-chameleon-hep"),
)
SAMES = ("montage-chameleon-dss", "epigenomics-chameleon-hep", "1000genome")
_APART = 0.25
"""Arrivals are apart by this share of a mean run alone."""
_COPIES = 4
FRACTION = 25
_POLICIES = (OURS, BLIND)


@dataclass(frozen=True)
class Row:
    """Several workflows at one point. `slowdowns`: time in the shared store over time alone in it."""

    names: tuple[str, ...]
    same: bool
    bandwidth: str
    bandwidth_Bps: float
    capacity_bytes: int
    policy: str
    makespan_s: float
    bound_s: float
    slowdowns: tuple[float, ...]
    bytes_down: int
    bytes_up: int
    finished: bool
    code: str = ""
    """The signature of what measured it."""

    @property
    def place(self) -> Place:
        """Return which workflows run where, and the policy."""
        return _place_of(self.names, self.bandwidth, self.policy, same=self.same)

    @property
    def ratio(self) -> float:
        """Return how many times the bound it took."""
        return self.makespan_s / self.bound_s


@dataclass(frozen=True)
class Task:
    """What one process measures at a time."""

    paths: tuple[Path, ...]
    bandwidth: str
    fraction: int
    same: bool
    effort: Effort
    code: str = ""

    @property
    def places(self) -> tuple[Place, ...]:
        """Return the workflows and the bandwidth with each policy."""
        names = tuple(map(name_of, self.paths))
        return tuple(_place_of(names, self.bandwidth, policy, same=self.same) for policy in _POLICIES)


def _place_of(names: tuple[str, ...], bandwidth: str, policy: str, *, same: bool) -> Place:
    return same, *names, *place_of(bandwidth), _POLICIES.index(policy)


def tasks(paths: Sequence[Path], bandwidths: Sequence[str], fraction: int, effort: Effort, code: str = "") -> list[Task]:
    """Return the mixes of different workflows, and those of one workflow whose copies read the same."""

    def found(name: str) -> Path | None:
        return next((path for path in paths if name in path.name), None)

    groups = [(tuple(path for name in mix if (path := found(name))), False) for mix in MIXES]
    groups += [((path,) * _COPIES, True) for name in SAMES if (path := found(name))]
    return [
        Task(group, bandwidth, fraction, same, effort, code)
        for group, same in groups
        if len(group) > 1
        for bandwidth in bandwidths
    ]


def measure(task: Task) -> list[Row]:
    """Run the workflows of a task alone and together."""
    traces = [trace_of(path) for path in task.paths]
    place = _place(traces, task)
    chosen = {trace: choose(trace.steps(), drive.setting(place), task.effort) for trace in dict.fromkeys(traces)}
    blind = {trace: without_estimates(trace.steps()) for trace in chosen}
    alone = {trace: _alone(trace, place, plan) for trace, plan in chosen.items()}
    apart = _APART * sum(alone[trace] for trace in traces) / len(traces)
    arrivals = [(trace, apart * number) for number, trace in enumerate(traces)]
    least = bound.together(arrivals, place.rate_Bps, place.capacity, shared=task.same)
    scene = _Scene(task, place, arrivals, alone, least)
    return [_together(scene, policy, plans) for policy, plans in ((OURS, chosen), (BLIND, blind))]


@dataclass(frozen=True)
class _Scene:
    """Who arrives when, and how long each takes alone."""

    task: Task
    place: Point
    arrivals: Sequence[tuple[Trace, float]]
    alone: Mapping[Trace, float]
    least: float


def _alone(trace: Trace, place: Point, plan: Plan) -> float:
    return drive.Drive([drive.Submitted("w", trace, trace.steps(), plan)], place).run().makespan_s


def _choosing(steps: Sequence[FutureStep], place: Point, effort: Effort) -> drive.Chooser:
    """Return what chooses the plan of a workflow when it comes, as the service does."""

    def chosen(beside: Sequence[Beside], near: Mapping[ObjectRef, int]) -> Plan:
        setting = replace(drive.setting(place), resident=dict(near))
        return choose_beside(choose(steps, setting, effort), steps, setting, effort, beside=beside)

    return chosen


def _together(scene: _Scene, policy: str, plans: Mapping[Trace, Plan]) -> Row:
    """Run the workflows in one store."""
    task, place = scene.task, scene.place
    submitted: list[drive.Submitted] = []
    for number, (trace, at_s) in enumerate(scene.arrivals):
        uid = f"w{number}"
        plan = plans[trace]
        starts = {f"{uid}/{name.split('/', 1)[1]}": start for name, start in plan.starts.items()}
        steps = trace.steps(uid, shared=task.same)
        one = drive.Submitted(uid, trace, steps, replace(plan, starts=starts), at_s)
        if policy == OURS and number:
            one = dataclasses.replace(one, choose=_choosing(steps, place, task.effort))
        submitted.append(one)
    done = drive.Drive(submitted, place).run()
    slow = tuple((done.ends[one.uid] - one.at_s) / scene.alone[one.trace] for one in submitted)
    return Row(
        names=tuple(one.trace.name for one in submitted),
        same=task.same,
        bandwidth=task.bandwidth,
        bandwidth_Bps=place.rate_Bps,
        capacity_bytes=place.capacity,
        policy=policy,
        makespan_s=done.makespan_s,
        bound_s=scene.least,
        slowdowns=slow,
        bytes_down=done.bytes_down,
        bytes_up=done.bytes_up,
        finished=not done.unfinished,
        code=task.code,
    )


def _place(traces: Sequence[Trace], task: Task) -> Point:
    """Return the place for all of them; `bal` lets transferring take as long as computing. Equal inputs count once."""
    inputs = [sum(trace.sizes[file] for file in trace.external) for trace in traces]
    results = [sum(trace.sizes[file] for file in trace.finals) for trace in traces]
    whole = sum(sum(trace.sizes.values()) for trace in traces)
    read = sum(inputs)
    if task.same:
        whole -= sum(inputs[1:])
        read = inputs[0]
    capacity = max(int(whole * task.fraction / 100), int(1.02 * max(trace.footprint for trace in traces)) + 1)
    compute_s = max(sum(trace.compute_s for trace in traces) / WORKERS, *(trace.critical_s for trace in traces))
    rate_Bps = balanced(max(read, sum(results)), compute_s) if task.bandwidth == "bal" else rate(traces[0], task.bandwidth)
    return Point(task.fraction, task.bandwidth, rate_Bps, capacity)


def report(rows: Sequence[Row]) -> str:
    """Return the tables and which limits hold."""
    lines = [
        [
            "same inputs" if row.same else "different",
            ", ".join(dict.fromkeys(name.split("-")[0] for name in row.names)),
            row.bandwidth,
            row.policy,
            f"{row.ratio:.3f}",
            f"{statistics.mean(row.slowdowns):.2f}",
            f"{max(row.slowdowns):.2f}",
        ]
        for row in rows
    ]
    head = ["workflows", "", "MB/s", "policy", "makespan / bound", "mean slowdown", "worst"]
    limits: list[list[str]] = []
    for name, same, limit, value in _LIMITS:
        of = [row for row in rows if row.same is same and row.policy == OURS]
        if of:
            reached = value(of)
            limits.append([name, f"{limit:g}", f"{reached:.3f}", "holds" if reached <= limit else "missed"])
    return table(head, lines) + "\n\n" + table(["limit", "at most", "reached", ""], limits)


def _ratio(rows: Sequence[Row]) -> float:
    return statistics.mean(row.ratio for row in rows)


_LIMITS: tuple[tuple[str, bool, float, Callable[[Sequence[Row]], float]], ...] = (
    ("different workflows: makespan / bound, mean", False, 1.27, _ratio),
    (
        "different workflows: mean slowdown",
        False,
        4.0,
        lambda rows: statistics.mean(one for row in rows for one in row.slowdowns),
    ),
    ("different workflows: worst slowdown", False, 30.0, lambda rows: max(one for row in rows for one in row.slowdowns)),
    ("same inputs: makespan / bound, mean", True, 1.09, _ratio),
    ("runs that did not end", False, 0.0, lambda rows: sum(not row.finished for row in rows)),
)
