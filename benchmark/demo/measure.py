"""What the demo's figures mean: arithmetic on intervals of time, nothing else."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One pod that ran. `asked_at`: when everything it depends on had ended, so that only data or a place could be missing."""

    name: str
    template: str
    asked_at: float
    started_at: float
    finished_at: float


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """One object that was moved, in or out."""

    name: str
    direction: str
    size_bytes: int
    started_at: float
    finished_at: float


@dataclass(kw_only=True)
class Run:
    """One run of the workflow as it was recorded. Times are seconds since `began_at` (epoch)."""

    label: str
    began_at: float
    makespan_s: float
    steps: list[Step]
    transfers: list[Transfer]
    fill: list[tuple[float, int]]
    capacity_bytes: int
    service_peak_bytes: int
    sampled_peak_bytes: int
    fetched_bytes: int
    fetched_twice_bytes: int
    link_down_bytes: int = 0
    killed_at: float | None = None
    restarted_at: float | None = None
    results: dict[str, str] = field(default_factory=dict)
    """Result object -> SHA-256."""

    @property
    def inbound(self) -> list[Transfer]:
        """The transfers from far to near."""
        return [transfer for transfer in self.transfers if transfer.direction == "in"]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the same time as intervals that do not touch, in order."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        elif end > start:
            merged.append((start, end))
    return merged


def length(intervals: Iterable[Interval]) -> float:
    """Return how much time intervals cover together."""
    return sum(end - start for start, end in union(intervals))


def common(some: Iterable[Interval], others: Iterable[Interval]) -> float:
    """Return for how long both sets of intervals cover."""
    some, others = union(some), union(others)
    return sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a in some for b in others)


def overlap(run: Run) -> float:
    """Return the share of the time of inbound transfers during which at least one step computes."""
    moving = [(transfer.started_at, transfer.finished_at) for transfer in run.inbound]
    computing = [(step.started_at, step.finished_at) for step in run.steps]
    total = length(moving)
    return common(moving, computing) / total if total else 1.0


def waited_for_data(steps: Sequence[Step], places: int) -> float:
    """Return how long places to run stood empty although steps were ready but for their data, in seconds of places.

    At each moment that is the smaller of the number of empty places and the number of steps that depend on nothing unfinished.
    """
    changes: list[tuple[float, int, int]] = []
    for step in steps:
        changes += [(step.asked_at, 1, 0), (step.started_at, -1, 1), (step.finished_at, 0, -1)]
    waited = ready = running = 0
    total, last = 0.0, 0.0
    for at, more_ready, more_running in sorted(changes):
        waited = min(max(0, places - running), ready)
        total += waited * (at - last) if waited else 0.0
        last = at
        ready += more_ready
        running += more_running
    return total


def result(on_demand: Run, jit: Run, *, distinct_bytes: int, places: int) -> dict[str, Any]:
    """Return the document `result.json`."""
    return {
        "on_demand_makespan_s": round(on_demand.makespan_s, 3),
        "jit_makespan_s": round(jit.makespan_s, 3),
        "on_demand_wait_s": round(waited_for_data(on_demand.steps, places), 3),
        "jit_wait_s": round(waited_for_data(jit.steps, places), 3),
        "bytes_distinct": distinct_bytes,
        "bytes_fetched": jit.fetched_bytes,
        "bytes_fetched_twice": jit.fetched_twice_bytes,
        "primary_capacity_bytes": jit.capacity_bytes,
        "primary_peak_bytes": max(jit.service_peak_bytes, jit.sampled_peak_bytes),
        "overlap": round(overlap(jit), 4),
        "identical": bool(jit.results) and jit.results == on_demand.results,
        "server_killed": jit.killed_at is not None and jit.restarted_at is not None,
        "steps": len(jit.steps),
    }
