"""The points of the benchmark and what is measured at each."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from benchmark.traces import baselines, bound, drive
from benchmark.traces.kept import Place
from benchmark.traces.workloads import Point, Trace, load, name_of, point
from jitflow.planner import Effort, Plan, choose, without_estimates

OURS = "jitflow"
BLIND = "jitflow, no estimates"
POLICIES = (*baselines.POLICIES, BLIND, OURS)
EFFORT = Effort(events=60_000, restarts=300, thrift=0.01, content=0.03)
MODES = ("exact", "noisy", "together")


@dataclass(frozen=True)
class Row:
    """One policy at one point. `capacity_fraction`: of the bytes of all files together."""

    instance: str
    bandwidth_Bps: float
    capacity_bytes: int
    capacity_fraction: float
    policy: str
    makespan_s: float
    bytes_down: int
    bytes_up: int
    distinct_bytes: int
    decisions: int
    decision_p99_us: float
    bound_s: float
    bandwidth: str
    finished: bool
    peak_bytes: int = 0
    plan: str = ""
    code: str = ""
    """The signature of what measured it."""

    @property
    def place(self) -> Place:
        """Return the point and the policy."""
        return _place(self.instance, round(100 * self.capacity_fraction), self.bandwidth, self.policy)

    @property
    def ratio(self) -> float:
        """Return how many times the bound it took."""
        return self.makespan_s / self.bound_s


@dataclass(frozen=True)
class Task:
    """What one process measures at a time."""

    path: Path
    fraction: int
    bandwidth: str
    effort: Effort = EFFORT
    policies: tuple[str, ...] = POLICIES
    sigma: float = 0.0
    seed: int = 0
    code: str = ""

    @property
    def places(self) -> tuple[Place, ...]:
        """Return the point with each of its policies."""
        name = name_of(self.path)
        return tuple(_place(name, self.fraction, self.bandwidth, policy) for policy in self.policies)


def _place(instance: str, fraction: int, bandwidth: str, policy: str) -> Place:
    return fraction, instance, *place_of(bandwidth), POLICIES.index(policy)


def place_of(bandwidth: str) -> tuple[float, str]:
    """Return where a bandwidth comes among others: numbers in their order, then words."""
    return (float("inf") if bandwidth == "bal" else float(bandwidth), bandwidth)


@lru_cache(maxsize=16)
def trace_of(path: Path) -> Trace:
    """Return a trace; each process reads it once."""
    return load(path)


def measure(task: Task) -> list[Row]:
    """Run every policy at a point."""
    trace = trace_of(task.path)
    place = point(trace, task.fraction, task.bandwidth)
    least = bound.bound(trace, place.rate_Bps, place.capacity)
    rows = [_baseline(trace, place, policy, least) for policy in task.policies if policy in baselines.POLICIES]
    for policy in task.policies:
        if policy == OURS:
            rows.append(_ours(trace, place, least, plan_of(trace, place, task), policy))
        elif policy == BLIND:
            rows.append(_ours(trace, place, least, without_estimates(trace.steps()), policy))
    below = [row for row in rows if row.finished and row.makespan_s < least * (1 - 1e-9)]
    if below:
        raise AssertionError(f"below the bound of {least:.2f} s: {below}")
    return [replace(row, code=task.code) for row in rows]


def plan_of(trace: Trace, place: Point, task: Task) -> Plan:
    """Return the plan of a workflow; with `sigma`, run times and rate are off by lognormal factors while it is made."""
    if not task.sigma:
        return choose(trace.steps(), drive.setting(place), task.effort)
    estimates = trace.noisy(task.sigma, task.seed)
    guess = drive.guessed(place, task.sigma, f"{trace.name} {task.fraction} {task.bandwidth} {task.seed}")
    return choose(trace.steps(estimates=estimates), guess, task.effort)


def _baseline(trace: Trace, place: Point, policy: str, least: float) -> Row:
    result = baselines.run(policy, trace, place)
    return _row(trace, place, policy, least, result)


def _ours(trace: Trace, place: Point, least: float, plan: Plan, policy: str) -> Row:
    done = drive.Drive([drive.Submitted("w", trace, trace.steps(), plan)], place).run()
    result = baselines.Result(
        makespan_s=done.makespan_s, bytes_down=done.bytes_down, bytes_up=done.bytes_up, finished=not done.unfinished
    )
    row = _row(trace, place, policy, least, result)
    return replace(row, decisions=done.decisions, decision_p99_us=done.p99_us, peak_bytes=done.peak_bytes, plan=plan.name)


def _row(trace: Trace, place: Point, policy: str, least: float, result: baselines.Result) -> Row:
    return Row(
        instance=trace.name,
        bandwidth_Bps=place.rate_Bps,
        capacity_bytes=place.capacity,
        capacity_fraction=place.fraction / 100,
        policy=policy,
        makespan_s=result.makespan_s,
        bytes_down=result.bytes_down,
        bytes_up=result.bytes_up,
        distinct_bytes=trace.distinct_bytes,
        decisions=0,
        decision_p99_us=0.0,
        bound_s=least,
        bandwidth=place.bandwidth,
        finished=result.finished,
    )
